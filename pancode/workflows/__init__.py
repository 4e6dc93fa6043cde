"""Batches, chains, races and lanes: decided, carried out and shown."""
