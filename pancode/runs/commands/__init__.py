"""Commands for runs: dispatch, follow, logs, landing, receipts and events."""
