"""Reads the attempts of one run."""

from __future__ import annotations

from pancode.domain.records import Attempt, Run
from pancode.ports import Transaction


def attempts_of(tx: Transaction, run: Run) -> list[Attempt]:
    """Oldest first, by key: a list of runs asks this for each of them."""
    found = (tx.get(Attempt, run.id, number) for number in range(1, run.attempt + 1))
    return [attempt for attempt in found if attempt is not None]
