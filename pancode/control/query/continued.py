"""The chain of runs that go on from each other, and where its change begins."""

from __future__ import annotations

from collections.abc import Iterator

from pancode.control.core import Core
from pancode.domain.records import Run
from pancode.ports import Transaction

LONGEST = 100
"""The greatest number of runs of one chain that are followed."""


def before(tx: Transaction, run: Run) -> Iterator[Run]:
    """The runs that it goes on from, newest first."""
    for _ in range(LONGEST):
        old = run.terms.get("continues")
        found = tx.get(Run, old) if old is not None else None
        if found is None:
            return
        yield found
        run = found


def change_begins(core: Core, run: Run) -> str | None:
    """The commit from which its whole change is counted, with that of the runs that it goes on from.

    What of the chain has landed is not counted again. None: it had no repository.
    """
    first = run
    with core.ports.ledger.transaction() as tx:
        for old in before(tx, run):
            if old.landed is not None or first.terms.get("begins") != old.id:
                break
            first = old
    snapshot = first.terms.get("origin") or first.workspace.get("snapshot")  # of a workflow: its beginning
    return snapshot if isinstance(snapshot, str) else None
