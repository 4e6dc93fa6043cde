"""Tests of local models: checks each model once, and on demand, for what a coding agent needs."""

from __future__ import annotations
