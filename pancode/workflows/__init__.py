"""Batches, chains, races and lanes: their decisions, execution and display."""
