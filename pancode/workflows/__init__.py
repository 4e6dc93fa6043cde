"""Batches, chains, races and lanes: how they are decided, executed and displayed."""
