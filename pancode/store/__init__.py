"""The ledger on disk. Only this package uses SQLAlchemy."""
