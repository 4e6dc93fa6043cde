"""Makes a trace of a run from its rows in the ledger."""
