"""Makes a trace of a run from what the ledger has of it."""
