"""Reads the attempts of one run."""

from __future__ import annotations

from typing import Any

from pancode.core.ports import Transaction
from pancode.core.records import Attempt, Run
from pancode.life.receipts import usage_of_all


def attempts_of(tx: Transaction, run: Run) -> list[Attempt]:
    """Oldest first, by key: a list of runs asks this for each of them."""
    found = (tx.get(Attempt, run.id, number) for number in range(1, run.attempt + 1))
    return [attempt for attempt in found if attempt is not None]


def usage_of_run(tx: Transaction, run: Run) -> dict[str, Any]:
    """Usage of all attempts of a run together; empty: nothing is known yet."""
    return usage_of_all(attempts_of(tx, run))
