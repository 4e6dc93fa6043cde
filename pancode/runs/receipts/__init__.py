"""Receipts of runs: checked, settled, exported."""
