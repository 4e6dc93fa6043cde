"""Receipts of runs: checks, settlement and export."""
