"""Commands for runs: dispatch, follow, logs, landing, receipts, the record of events."""

from __future__ import annotations
