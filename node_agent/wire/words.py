"""Where a program of ours finds what a person has said to it while it works."""

from __future__ import annotations

ATTEMPT = "PANCODE_ATTEMPT"
"""The variable that every process of an attempt has; its value names the attempt."""


def words_in(attempt: str) -> str:
    """The folder below the home that has the words for this attempt: a file for each, by its number."""
    return f"words-{attempt}"
