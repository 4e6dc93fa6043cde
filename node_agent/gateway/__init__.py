"""The model gateway: one small process per run that has the model key, counts calls and enforces limits."""

from __future__ import annotations
