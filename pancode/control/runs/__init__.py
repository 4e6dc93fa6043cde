"""Use cases about one run: admission, binding, settlement, landing, retry, stop."""

from __future__ import annotations
