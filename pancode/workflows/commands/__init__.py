"""Batches, chains and races: begin one, wait for it, look at it."""
