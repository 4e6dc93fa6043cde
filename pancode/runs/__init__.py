"""Runs after their dispatch: messages of nodes, receipts, stops, retries, lists, rounds."""
