"""The shapes of workflows for the API, with the questions that wait for a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pancode.budget import books
from pancode.kernel.declared import make_answer
from pancode.kernel.pages import MOST_WORKFLOWS, ListPage, ListPlace, ListSearch, read_page
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, Balance, Run, RunState
from pancode.runs.answers import LandingShape
from pancode.runs.core import Core
from pancode.runs.inbox_answers import inbox_shape
from pancode.runs.life.conversation import is_blocked
from pancode.runs.life.inbox import item_of
from pancode.runs.receipts.trust import LANDED, NOT_DONE, NOTHING, WAITING, landing_of
from pancode.runs.views import node_of
from pancode.workflows import store as rows
from pancode.workflows.answers import CostShape, LandedShape, WorkflowShape, WorkflowStepShape
from pancode.workflows.lane_rules import explain_skip
from pancode.workflows.questions import waits_for_users_only
from pancode.workflows.records import Workflow, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.results import results_of
from pancode.workflows.step_store import runs_of

MOST_OF_A_LINE = 200
"""How many characters of a task and of an answer are shown in a list."""


def list_workflows(core: Core, limit: int, after: ListPlace | None) -> ListPage[WorkflowShape]:
    """Return the workflows after that place, newest first."""
    with core.ports.ledger.transaction() as tx:
        found = read_page(tx, ListSearch(Workflow, "created_ms"), min(limit, MOST_WORKFLOWS), after)
        questions = _find_waiting(tx)
        return ListPage([_shape(tx, one, questions) for one in found.rows], found.last)


def get_workflow(core: Core, text: str, warnings: tuple[str, ...] = ()) -> WorkflowShape:
    """Return one workflow. NotFoundError if it does not exist, UsageError if the text is ambiguous."""
    with core.ports.ledger.transaction() as tx:
        return {**_shape(tx, rows.find_workflow(tx, text), _find_waiting(tx)), "warnings": list(warnings)}


def _find_waiting(tx: Transaction) -> dict[str, Action]:
    """Return the actions that wait for a user, by run id."""
    return {action.run: action for action in tx.find(Action) if action.kind is ActionKind.USER}


def _shape(tx: Transaction, workflow: Workflow, questions: Mapping[str, Action]) -> WorkflowShape:
    steps = rows.steps_of(tx, workflow.id)
    runs = runs_of(tx, steps)
    items = [
        (runs[step.run], questions[step.run]) for step in steps if step.run in runs and step.run in questions
    ]
    blocked = {run.id for run, _ in items if is_blocked(run)}
    waits = workflow.state is WorkflowState.RUNNING and waits_for_users_only(steps, blocked)
    stopped = workflow.state is WorkflowState.RUNNING and workflow.lane.get("stands")
    shapes = [_describe_step(tx, step, runs) for step in steps]
    return make_answer(
        WorkflowShape,
        workflow,
        workflow=workflow.id,
        status="stopped" if stopped else "waiting_for_you" if waits else workflow.state.value,
        results=list(results_of(workflow, steps, runs)),
        steps=shapes,
        landed=_count_landed([step["landing"] for step in shapes if step["landing"] is not None]),
        inbox=[inbox_shape(item_of(run, action)) for run, action in items],
        waits_for_person=waits,
        cost=_describe_cost(tx, workflow),
        warnings=[],
    )


def _describe_step(tx: Transaction, step: WorkflowStep, newest: Mapping[str, Run]) -> WorkflowStepShape:
    run = newest.get(step.run) if step.run is not None else None
    refused = step.state is WorkflowStepState.REFUSED
    queued = step.state is WorkflowStepState.RUNNING and run is not None and run.state is RunState.PENDING
    request = step.request
    return make_answer(
        WorkflowStepShape,
        step,
        state=run.state.value if run is not None and queued else step.state.value,
        task=_first_line(request.get("task") or " ".join(map(str, _list_words(request.get("argv"))))),
        agent=run.agent if run is not None else _text(request.get("agent")),
        node=node_of(tx, run) if run is not None else _text(request.get("node")),
        answer=_first_line(run.result.get("answer") if run is not None else ""),
        landing=cast("LandingShape | None", landing_of(run)) if run is not None else None,
        run=None if run is None else run.id,
        runs=[name for name in step.runs if tx.get(Run, name) is not None],
        outcome=run.outcome.value if run is not None and run.outcome is not None else None,
        reason=run.reason
        if run is not None and queued and run.waits is not None
        else step.reason or explain_skip(step),
        refused=step.reason if refused else None,
        outputs={name: value for name, value in step.outputs.items() if name != "of"},
        verdict_file=str(step.verdict["file"]) if step.verdict else None,
    )


def _count_landed(landings: list[LandingShape]) -> LandedShape:
    """Return the counts of landings that have something to land: their run succeeded with changes."""
    states = [one["status"] for one in landings if one["status"] not in (NOTHING, NOT_DONE)]
    landed, waiting = states.count(LANDED), states.count(WAITING)
    left = len(states) - landed - waiting
    return {"asked": len(states), "landed": landed, "waiting": waiting, "not_landed": left}


def _first_line(text: object) -> str:
    """Return the first line that is not blank, truncated."""
    return next((line.strip() for line in str(text or "").splitlines() if line.strip()), "")[:MOST_OF_A_LINE]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _list_words(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _describe_cost(tx: Transaction, workflow: Workflow) -> CostShape:
    """Return the booked cost of all the workflow's runs, including failed and stopped ones."""
    scope = books.workflow_scope(workflow.id)
    balance = tx.get(Balance, scope) or Balance(scope)
    return {
        "usd": f"{balance.spent_usd:f}",
        "held_usd": f"{balance.reserved_usd:f}",
        "unknown": balance.unknown_runs,
        "disputed_usd": f"{balance.disputed_usd:f}",
        "tokens": balance.tokens,
        "agent_ms": balance.agent_ms,
        "runs": balance.runs,
        "budget_usd": None if workflow.budget is None else f"{workflow.budget:f}",
    }
