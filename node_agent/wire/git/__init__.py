"""Names of git that an order may carry, and their checks."""

from __future__ import annotations
