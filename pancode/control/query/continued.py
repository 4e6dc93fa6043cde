"""Which run has the change to land: of runs that go on from each other, where it begins; of a workflow."""

from __future__ import annotations

from collections.abc import Iterator

from pancode.control.core import Core
from pancode.domain.landing.results import results_of
from pancode.domain.records import Run, Workflow, WorkflowStep
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


def is_the_result(tx: Transaction, run: Run) -> bool:
    """Of its workflow; true for one that belongs to none."""
    workflow = tx.get(Workflow, run.workflow) if run.workflow is not None else None
    if workflow is None:
        return True
    steps = sorted(tx.find(WorkflowStep, {"workflow": workflow.id}), key=lambda step: step.number)
    found = (tx.get(Run, step.run) for step in steps if step.run is not None)
    return run.id in results_of(workflow, steps, {one.id: one for one in found if one is not None})
