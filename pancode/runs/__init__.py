"""The engine: admission, placement, the life of a run, receipts, and what is asked of runs."""
