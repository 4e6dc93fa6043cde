"""Which run has the change to land: of runs that go on from each other, where it begins; of a workflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
    return run.id in results_of(workflow, steps, runs_of(tx, steps))


def runs_of(tx: Transaction, steps: Iterable[WorkflowStep]) -> dict[str, Run]:
    """The newest run of each step, and those of the same step from whose question it goes on."""
    found = dict[str, Run]()
    for step in steps:
        newest = tx.get(Run, step.run) if step.run is not None else None
        if newest is not None:
            found[newest.id] = newest
            mine = (
                old for old in before(tx, newest) if (old.workflow, old.step) == (step.workflow, step.name)
            )
            found.update((old.id, old) for old in mine)
    return found
