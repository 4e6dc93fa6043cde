"""The ledger on disk. Nothing outside this folder sees SQLAlchemy."""
