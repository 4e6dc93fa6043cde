"""Parts of the ledger's records (`pancode/domain/records.py` has them all)."""
