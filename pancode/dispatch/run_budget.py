"""The part of a run's own money limit that is left for the runs that it dispatches."""

from __future__ import annotations

from decimal import Decimal

from pancode.agents.runtimes import RUNTIMES
from pancode.core import books
from pancode.core.ports import Transaction
from pancode.core.records import Attempt, BookEntry, Run, RunState


def left(tx: Transaction, run: Run) -> Decimal | None:
    """The limit less the run's own cost and the actual or possible cost of its children; None: it has no
    limit.

    The result is never more than the rest of the parent above, with the share that this run got there.
    """
    limit = _limit(run)
    if limit is None:
        return None
    committed = _committed(tx, run)
    room = limit - committed
    above = tx.get(Run, run.parent) if run.parent is not None else None
    beyond = left(tx, above) if above is not None else None
    if beyond is not None:
        room = min(room, beyond + _claim(run, committed) - committed)
    return max(room, books.ZERO)


def _committed(tx: Transaction, run: Run) -> Decimal:
    """Its cost so far, with the budgets of its children.

    The hold of a running attempt is not spent: the children are paid from it.
    """
    entries = tx.find(BookEntry, {"run": run.id})
    if run.state is RunState.ENDED:
        spent = books.used(entries, run.attempt + 1)
    else:
        spent = books.used(entries, run.attempt) + _reported(tx, run)
    children = tx.find(Run, {"parent": run.id})
    return sum((_claim(child, _committed(tx, child)) for child in children), spent)


def _claim(run: Run, committed: Decimal) -> Decimal:
    """The amount to keep for a child: its whole limit until it has ended, whatever its estimate.

    The user's own programs cost nothing unless the user says what they may cost.
    """
    if run.state is RunState.ENDED:
        return committed
    limit = None if RUNTIMES[run.runtime].own else _limit(run)
    return max(run.estimate_usd if limit is None else limit, committed)


def _reported(tx: Transaction, run: Run) -> Decimal:
    """The node's latest figures of the running attempt."""
    attempt = tx.get(Attempt, run.id, run.attempt)
    return (books.known_cost(attempt.usage) if attempt is not None else None) or books.ZERO


def _limit(run: Run) -> Decimal | None:
    usd = run.limits.get("usd")
    return None if usd is None else Decimal(str(usd))
