"""Tests of local models: what one can do for a coding agent, found out by asking it, once and on demand."""

from __future__ import annotations
