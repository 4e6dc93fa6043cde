"""Which run has the change to land: of runs that go on from each other, where it begins and whose it is."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.control.run import before, runs_of
from pancode.core.ports import Transaction
from pancode.core.records import Run, Workflow, WorkflowStep
from pancode.work.workflow.landable import results_of


def change_begins(core: Core, run: Run) -> str | None:
    """The commit from which its whole change is counted, with that of the runs that it goes on from.

    What of the chain has landed is not counted again, nor what a person has gone back behind. None: it had no
    repository.
    """
    first = run
    with core.ports.ledger.transaction() as tx:
        chain = {old.id: old for old in before(tx, run)}
        while (old := chain.get(first.terms.get("begins", ""))) is not None and old.landed is None:
            first = old
    snapshot = first.terms.get("origin") or first.workspace.get("snapshot")  # of a workflow: its beginning
    return snapshot if isinstance(snapshot, str) else None


def change_of(core: Core, run: Run) -> tuple[Run, ...]:
    """The runs whose work is in its whole change, itself first: what one of them did, a landing answers for.

    What has landed was answered for, and what a person has gone back behind is in no change.
    """
    found: dict[str, Run] = {}
    waiting = [run]
    with core.ports.ledger.transaction() as tx:
        while waiting:
            one = waiting.pop(0)
            if one.id in found or (one.landed is not None and one.id != run.id):
                continue
            found[one.id] = one
            waiting += _taken_by(tx, one)
    return tuple(found.values())


def _taken_by(tx: Transaction, run: Run) -> list[Run]:
    """The runs from whose results it began. A retry begins where the old run did, with nothing of it."""
    names = run.terms.get("takes") or [run.terms.get("begins", "")]
    olds = [old for name in names if (old := tx.get(Run, name)) is not None]
    same = [
        old
        for old in olds
        if run.retry_of == old.id and run.workspace.get("snapshot") == old.workspace.get("snapshot")
    ]
    return [one for old in olds for one in (_taken_by(tx, old) if old in same else [old])]


def is_the_result(tx: Transaction, run: Run) -> bool:
    """Whether the run is the result of its workflow; true for a run without a workflow."""
    workflow = tx.get(Workflow, run.workflow) if run.workflow is not None else None
    if workflow is None:
        return True
    steps = sorted(tx.find(WorkflowStep, {"workflow": workflow.id}), key=lambda step: step.number)
    return run.id in results_of(workflow, steps, runs_of(tx, steps))
