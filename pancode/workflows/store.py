"""Loads a workflow's rows, and writes decisions about it with their events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.kernel.errors import UsageError
from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EventKind, Run
from pancode.kernel.values import replace
from pancode.runs.begun_later import must_still_speak
from pancode.runs.core import Core
from pancode.runs.life.approvals import Unasked
from pancode.runs.life.binding import Released
from pancode.runs.life.changes import Happened, Signal
from pancode.runs.life.ends import Stop
from pancode.runs.unit_of_work import Work
from pancode.workflows.records import Workflow, WorkflowStep, WorkflowStepState
from pancode.workflows.rules import Advance, WorkflowView
from pancode.workflows.step_store import HELD as HELD
from pancode.workflows.step_store import ask_to_advance as ask_to_advance
from pancode.workflows.step_store import has_open_question
from pancode.workflows.step_store import put_steps as put_steps
from pancode.workflows.step_store import step_event as step_event
from pancode.workflows.step_store import steps_of as steps_of

PREFIX = "w-"
LAST = "last"


def find_workflow(tx: Transaction, text: str) -> Workflow:
    """Return the workflow that an id, an unambiguous prefix, or `last` names. NotFoundError, UsageError."""
    exact = tx.get(Workflow, text)
    if exact is not None:
        return exact
    newest = tx.find(Workflow, order="created_ms", descending=True, limit=1)
    if text == LAST and newest:
        return newest[0]
    prefix = text if text.startswith(PREFIX) else f"{PREFIX}{text}"
    ids = [str(key[0]) for key in tx.starting(Workflow, prefix, 10)] if text else []
    if len(ids) > 1:
        what, fix = f"{text!r} matches {len(ids)} or more workflows", "enter more characters of the id"
        raise UsageError(what, why=", ".join(ids), fix=fix, code="workflow_ambiguous")
    found = tx.get(Workflow, ids[0]) if ids else None
    if found is None:
        known = [one.id for one in tx.find(Workflow, order="created_ms", descending=True, limit=200)]
        raise not_found("workflow", text, (LAST, *known) if known else (), "pancode workflow ls")
    return found


def new_id(core: Core, tx: Transaction) -> str:
    """Return an unused workflow id; it is not reserved until its row is written."""
    while True:
        fresh = f"{PREFIX}{core.ports.ids.short(6)}"
        if tx.get(Workflow, fresh) is None:
            return fresh


def load_view(core: Core, tx: Transaction, workflow: str) -> WorkflowView | None:
    """Return the workflow's current state, or None if it does not exist."""
    row = tx.get(Workflow, workflow)
    if row is None:
        return None
    steps = steps_of(tx, workflow)
    found = (tx.get(Run, step.run) for step in steps if step.run is not None and _is_relevant(row, step))
    runs = {run.id: run for run in found if run is not None}
    questions = frozenset(run.id for run in runs.values() if has_open_question(tx, run))
    return WorkflowView(row, steps, runs, core.wall_ms(), questions)


def _is_relevant(workflow: Workflow, step: WorkflowStep) -> bool:
    """Whether the step's run can still change the workflow; avoids rereading all runs of a large batch."""
    return not step.state.is_over or step.lost is not None or bool(workflow.race)


def write_changes(work: Work, before: WorkflowView, made: Advance) -> None:
    """Write the changed rows, stop or start runs as decided, and add the events."""
    tx = work.tx
    for run, signal in _list_signals(made):
        row = tx.get(Run, run)
        if row is not None:
            work.signal(row, signal)
    for step in made.changed:
        tx.put(step)
        work.happened(step_event(step))
    if made.workflow != before.workflow:
        tx.put(made.workflow)
    if made.ended and before.workflow.finished_ms is None:
        work.happened(workflow_event(EventKind.WORKFLOW_ENDED, made.workflow))


def _list_signals(made: Advance) -> Iterator[tuple[str, Signal]]:
    yield from ((run, Stop(why)) for run, why in made.stop)
    yield from ((run, Released()) for run in made.release)
    yield from ((run, Unasked(why)) for run, why in made.unasked)


def workflow_event(kind: EventKind, workflow: Workflow) -> Happened:
    data: dict[str, object] = {"workflow": workflow.id, "kind": workflow.kind.value, "name": workflow.name}
    data |= {"state": workflow.state.value, "reason": workflow.reason[:500], "winner": workflow.winner}
    return Happened(kind, None, None, data)


def is_starting(step: WorkflowStep | None, run: str) -> bool:
    """Whether this step still waits for this run to be written."""
    return step is not None and step.state is WorkflowStepState.STARTING and step.run == run


def is_back(tx: Transaction, step: WorkflowStep) -> bool:
    """Whether the step's lost run was found again and has succeeded."""
    run = tx.get(Run, step.lost) if step.lost is not None else None
    return run is not None and run.outcome is Outcome.DONE


def taken_back(step: WorkflowStep) -> WorkflowStep:
    """Return the step with its lost run instead of the newer one, so that finished work is not repeated."""
    runs = step.runs[:-1] if step.state is WorkflowStepState.STARTING else step.runs
    return replace(
        step,
        state=WorkflowStepState.RUNNING,
        run=step.lost,
        runs=runs,
        lost=None,
        reason="",
        finished_ms=None,
    )


def must_have_its_token(tx: Transaction, workflow: Workflow, step: WorkflowStep) -> None:
    """Raise RefusedError if the token that requested the step was revoked before the step begins."""
    item: dict[str, Any] = dict(step.item)
    by, made_ms = item.get("by") or workflow.created_by, item.get("at_ms") or workflow.created_ms
    fix = f"pancode runs retry --workflow {workflow.id}, or for an item of a lane: pancode lane skip NAME"
    must_still_speak(tx, by, made_ms, f"step {step.name} of {workflow.id}", fix)
