"""After a restore: what the ledger has as pending is held, and nodes report what the ledger lacks."""
