"""The model gateway: one small process per run that holds the key, counts, and stops what goes too far."""

from __future__ import annotations
