"""Says what a shell command does, from its parsed words: nothing is run, nothing is looked up on a disk."""

from __future__ import annotations
