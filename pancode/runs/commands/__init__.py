"""Commands for runs: dispatch, follow, logs, landing, receipts, events."""

from __future__ import annotations
