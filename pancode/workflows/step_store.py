"""Reads and writes the rows of a workflow's steps, publishes their events, and requests workflow advances."""

from __future__ import annotations

from collections.abc import Iterable

from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, EventKind, Run
from pancode.runs.life.changes import Happened
from pancode.runs.life.conversation import is_blocked
from pancode.runs.life.inbox import open_item
from pancode.runs.unit_of_work import Work
from pancode.runs.views import walk_previous
from pancode.workflows import lane_rules
from pancode.workflows.records import Workflow, WorkflowStep, WorkflowStepState

HELD = "waits for its turn in the workflow"


def steps_of(tx: Transaction, workflow: str) -> tuple[WorkflowStep, ...]:
    """Return the steps in the requested order; the items of a lane in the order in which they start."""
    return tuple(sorted(tx.find(WorkflowStep, {"workflow": workflow}), key=lane_rules.make_sort_key))


def has_open_question(tx: Transaction, run: Run) -> bool:
    """Whether the run has ended with a question that waits for a user."""
    return is_blocked(run) and open_item(tuple(tx.find(Action, {"run": run.id}))) is not None


def step_event(step: WorkflowStep) -> Happened:
    data: dict[str, object] = {"workflow": step.workflow, "step": step.name, "state": step.state.value}
    data |= {"round": step.round, "reason": step.reason[:500]}
    # The question's row is not written yet.
    run = None if step.state is WorkflowStepState.STARTING else step.run
    return Happened(EventKind.WORKFLOW_STEP, run, None, data)


def ask_to_advance(work: Work, workflow: Workflow, at_ms: int | None = None) -> None:
    """Request that the workflow is advanced, now or at the time `at_ms`."""
    due = work.core.wall_ms() if at_ms is None else at_ms
    work.tx.insert(
        Action(work.core.ports.ids.token(12), ActionKind.ADVANCE, workflow.id, due, workflow.created_by)
    )


def put_steps(work: Work, *steps: WorkflowStep) -> None:
    """Write the changed rows of existing steps."""
    for step in steps:
        work.tx.put(step)
        work.happened(step_event(step))


def runs_of(tx: Transaction, steps: Iterable[WorkflowStep]) -> dict[str, Run]:
    """Return each step's newest run and the earlier runs that it continues, by id."""
    found = dict[str, Run]()
    for step in steps:
        newest = tx.get(Run, step.run) if step.run is not None else None
        if newest is not None:
            found[newest.id] = newest
            mine = (
                old
                for old in walk_previous(tx, newest)
                if (old.workflow, old.step) == (step.workflow, step.name)
            )
            found.update((old.id, old) for old in mine)
    return found
