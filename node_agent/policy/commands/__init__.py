"""Classifies a shell command from its parsed words, without running it or reading the disk."""

from __future__ import annotations
