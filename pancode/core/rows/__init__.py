"""The rows of the ledger, by subject."""
