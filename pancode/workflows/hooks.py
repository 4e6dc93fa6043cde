"""What workflows add to runs, and what other features may know of a workflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from operator import attrgetter

from pancode.budget.books import Ceilings, is_workflow, workflow_scope
from pancode.kernel import records
from pancode.kernel.ports import Transaction
from pancode.kernel.records import FeedEvent, Run
from pancode.kernel.threads import BackgroundThread
from pancode.kernel.visitors import token_behind
from pancode.runs.answers import LaterSteps, Need, NeedAct, NeedGroup
from pancode.runs.core import Core
from pancode.runs.extension import Hook, LargerWork, RunSeries
from pancode.runs.features import Features
from pancode.runs.follow_on_actions import FollowOn
from pancode.runs.retention.rules import FilesNeed
from pancode.runs.user_environment import Around
from pancode.runs.views import format_optional_iso
from pancode.workflows import step_replacement
from pancode.workflows.advancing import Advancing
from pancode.workflows.lane_service import find_lane, list_needs
from pancode.workflows.planned import PlannedWorkflow, read_planned
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.results import results_of
from pancode.workflows.rules import OPEN
from pancode.workflows.step_start import StepStarter
from pancode.workflows.step_store import runs_of, steps_of
from pancode.workflows.store import find_workflow


def make_threads(core: Core, around: Around) -> tuple[BackgroundThread, ...]:
    """Return the thread that advances workflows."""
    return (FollowOn(core, {records.ActionKind.ADVANCE: Advancing(core, StepStarter(core, around))}),)


def find_larger(tx: Transaction, name: str) -> LargerWork | None:
    """Return what other features may know of the workflow with this id."""
    workflow = tx.get(Workflow, name)
    if workflow is None:
        return None

    has_failed = workflow.state is WorkflowState.FAILED

    def list_results(anyway: bool) -> tuple[str, ...]:
        steps = steps_of(tx, name)
        return results_of(workflow, steps, runs_of(tx, steps), anyway=anyway and has_failed)

    return LargerWork(
        id=workflow.id,
        title=workflow.name or workflow.kind.value,
        state=workflow.state.value,
        reason=workflow.reason,
        is_open=workflow.state in OPEN,
        is_done=workflow.state is WorkflowState.DONE,
        has_failed=has_failed,
        stays_open=workflow.kind is WorkflowKind.LANE,
        retry_of=workflow.retry_of,
        start_again=_find_start(workflow),
        list_results=list_results,
    )


def _find_start(workflow: Workflow) -> str:
    if workflow.kind is not WorkflowKind.LANE:
        return f"pancode workflow resume {workflow.id}"
    goes_on = workflow.lane.get("goes_on") or workflow.state not in OPEN
    return (
        f'pancode lane add {workflow.name} "..."'
        if goes_on
        else f"pancode lane create --resume {workflow.name}"
    )


def find_need(core: Core, tx: Transaction, run: Run) -> FilesNeed | None:
    """Return the need to keep files while the workflow continues, or None. An endless lane does not count."""
    work = find_larger(tx, run.workflow or "")
    return FilesNeed.WORKFLOW if work is not None and work.is_open and not work.stays_open else None


def find_ceilings(tx: Transaction, scope: str) -> Ceilings | None:
    """Return the budget of the workflow as the ceiling of its scope."""
    workflow = tx.get(Workflow, scope.partition(":")[2])
    return None if workflow is None else Ceilings(workflow.budget)


def find_stay(tx: Transaction, run: Run) -> str:
    """Return why the run of a race is not handed over to a node; empty: it is not of a race."""
    workflow = tx.get(Workflow, run.workflow or "")
    is_race = workflow is not None and workflow.kind is WorkflowKind.RACE
    return "in a race the first run to pass wins, and the others are stopped" if is_race else ""


def find_facts(tx: Transaction, event: FeedEvent, run: Run | None) -> Mapping[str, str]:
    """Return the name of the workflow that an event or its run belongs to."""
    workflow = event.data.get("workflow") or (None if run is None else run.workflow)
    row = tx.get(Workflow, str(workflow)) if workflow else None
    return {} if row is None else {"workflow": row.name}


def find_series(tx: Transaction, name: str) -> RunSeries:
    """Return the lane with this name or id. NotFoundError."""
    lane = find_lane(tx, name)
    return RunSeries(lane.id, cwd=lane.cwd)


def find_later(tx: Transaction) -> Iterator[LaterSteps]:
    """Yield how many steps of each workflow wait for others."""
    for one in tx.find(Workflow, {"state": WorkflowState.RUNNING}):
        waiting = sum(step.state is WorkflowStepState.WAITING for step in steps_of(tx, one.id))
        if waiting:
            yield {"workflow": one.id, "name": one.name, "steps": waiting}


def find_begun(tx: Transaction, token: str) -> Iterator[str]:
    """Yield the ids of running workflows that the token started, and of lanes with open items from it."""
    for workflow in tx.find(Workflow, {"state": WorkflowState.RUNNING}):
        by = [str(one.item.get("by") or "") for one in steps_of(tx, workflow.id) if not one.state.is_over]
        if token in map(token_behind, (workflow.created_by, *by)):
            yield workflow.id


_NEWEST = 100
"""How many of the newest failed workflows are listed as needs."""
_FAILURES = frozenset(WorkflowState) - {*OPEN, WorkflowState.DONE, WorkflowState.STOPPED}
"""The states of a workflow that ended and did not succeed, unless a user stopped it."""


def list_failed(core: Core, tx: Transaction) -> Iterator[Need]:
    """Yield the newest failed workflows that no other repeats. A lane has needs of its own."""
    found = [one for state in _FAILURES for one in tx.find(Workflow, {"state": state})]
    repeated = {one.retry_of for one in tx.find(Workflow, order="created_ms", descending=True, limit=_NEWEST)}
    for one in sorted(found, key=lambda one: one.created_ms, reverse=True)[:_NEWEST]:
        if one.kind is WorkflowKind.LANE or one.id in repeated:
            continue
        balance = tx.get(records.Balance, workflow_scope(one.id))
        again = f"Start the steps of {one.name or one.id} again that did not succeed? No undo."
        path = f"/v1/workflows/{one.id}/resume"
        yield Need(
            id=one.id,
            group=NeedGroup.FAILED,
            state=one.state.value,
            title=one.name or one.id,
            headline=one.reason[:300],
            command=f"pancode workflow show {one.id}",
            since=format_optional_iso(one.finished_ms),
            workflow=one.id,
            usd=None if balance is None else f"{balance.spent_usd:f}",
            words=one.reason,
            acts=(NeedAct("retry", "r", "Resume", again, path), NeedAct.done(one.id)),
        )


FEATURE = Features(
    ceilings=(Hook(is_workflow, find_ceilings),),
    stays=(Hook(attrgetter("workflow"), find_stay),),
    facts=(find_facts,),
    larger=(find_larger,),
    series=(
        Hook(lambda kind: kind == "lane", find_series),
        Hook(lambda kind: kind == "workflow", lambda tx, name: RunSeries(find_workflow(tx, name).id)),
    ),
    needs_user=(lambda core, tx: islice(list_needs(tx), 20), list_failed),
    later=(find_later,),
    planned=(Hook(lambda kind: kind == PlannedWorkflow.kind, read_planned),),
    begun_by=(find_begun,),
    tables=(Workflow, WorkflowStep),
    join=(Hook(attrgetter("follows_step"), step_replacement.take_step),),
    needs=(find_need,),
    threads=(make_threads,),
)
