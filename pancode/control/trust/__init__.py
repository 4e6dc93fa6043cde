"""Nodes that cannot be trusted: quarantine, cloned machines, a share of Redis and of the ledger for each."""
