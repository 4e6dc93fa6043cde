"""Says how many of a thing there are, in words: 1 file, 2 files."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """The number and the noun; `noun` is one whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
