"""Decides what signals change in a run: the one place for its life."""

from __future__ import annotations

from pancode.runs.life.case import RunCase
from pancode.runs.life.changes import Changes, Signal


def decide(case: RunCase, *signals: Signal) -> Changes:
    """Return all changes that these signals make, one after the other.

    RefusedError when a ceiling has no room for an admission, and for a second answer.
    """
    made = Changes(case, case, signals=signals)
    for signal in signals:
        made = signal.apply(made)
    return made
