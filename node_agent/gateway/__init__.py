"""The model gateway: one small process per run that holds the model key, counts calls, enforces limits."""

from __future__ import annotations
