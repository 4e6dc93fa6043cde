"""Classifies a shell command from its parsed words: nothing is run, no disk is read."""

from __future__ import annotations
