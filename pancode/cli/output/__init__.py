"""Formats answers, tables, progress and errors for a terminal or a pipe."""

from __future__ import annotations
