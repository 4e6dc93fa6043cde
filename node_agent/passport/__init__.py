"""Tests of local models: asks each model once, and on demand, what it can do for a coding agent."""

from __future__ import annotations
