"""Tests local models for what a coding agent needs: each model once, and on demand."""

from __future__ import annotations
