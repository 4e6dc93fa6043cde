"""Declares commands and options, parses values, and completes them."""

from __future__ import annotations
