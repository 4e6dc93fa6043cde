"""The engine: admission, placement, the life of a run, receipts, and queries about runs."""
