"""Loads what decides whether a run has the result of its workflow."""

from __future__ import annotations

from pancode.domain.landing.results import results_of
from pancode.domain.records import Run, Workflow, WorkflowStep
from pancode.ports import Transaction


def is_the_result(tx: Transaction, run: Run) -> bool:
    """Of its workflow; true for one that belongs to none."""
    workflow = tx.get(Workflow, run.workflow) if run.workflow is not None else None
    if workflow is None:
        return True
    steps = sorted(tx.find(WorkflowStep, {"workflow": workflow.id}), key=lambda step: step.number)
    found = (tx.get(Run, step.run) for step in steps if step.run is not None)
    return run.id in results_of(workflow, steps, {one.id: one for one in found if one is not None})
