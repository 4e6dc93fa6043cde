"""The last step of admission: the hold and the run, in one commit."""

from __future__ import annotations

from dataclasses import replace

from pancode.control.core import Core
from pancode.domain import books
from pancode.domain.records import Run
from pancode.errors import RefusedError
from pancode.ports import Transaction


def enqueue(core: Core, run: Run) -> Run:
    """Queue an admitted run; RefusedError with the numbers when a ceiling has no room for its estimate."""
    with core.ports.ledger.transaction() as tx:
        return admit(core, tx, run)


def admit(core: Core, tx: Transaction, run: Run) -> Run:
    """The same inside a transaction, which a refusal rolls back."""
    refused = core.hold(tx, run, books.Account(run.id, run.attempt))
    if refused is not None:
        raise RefusedError(
            refused, why="the ceiling of this scope has no room", fix="pancode budget show", code="budget"
        )
    admitted = replace(run, epoch=core.epoch)
    tx.insert(admitted)
    core.tell(tx, run.id, "gate", "budget", "held", f"${run.estimate_usd:.2f}")
    return admitted
