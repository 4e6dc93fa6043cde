"""Advances workflows with follow-on actions; an action's row exists until its work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from operator import attrgetter

from pancode.budget.books import Ceilings, is_workflow
from pancode.kernel import records
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.facets import LandingTerms
from pancode.kernel.ports import Transaction
from pancode.kernel.records import FeedEvent, Run
from pancode.kernel.threads import BackgroundThread
from pancode.kernel.values import replace
from pancode.kernel.visitors import token_behind
from pancode.runs import reconcile
from pancode.runs.answers import LaterSteps
from pancode.runs.core import Core
from pancode.runs.dispatch import new_id_in
from pancode.runs.extension import Hook, RunSeries
from pancode.runs.features import Features
from pancode.runs.follow_on_actions import FollowOn
from pancode.runs.life.changes import Happened
from pancode.runs.life.ends import LandingDue
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Around
from pancode.workflows import lane_rules, step_replacement
from pancode.workflows import store as rows
from pancode.workflows.lane_service import find_lane
from pancode.workflows.model import RaceRule
from pancode.workflows.planned import PlannedWorkflow, read_planned
from pancode.workflows.records import (
    TABLES,
    Workflow,
    WorkflowKind,
    WorkflowState,
    WorkflowStep,
    WorkflowStepState,
)
from pancode.workflows.results import StepResults, find_larger, find_need, results_of
from pancode.workflows.rules import OPEN, Advance, WorkflowView, advance, end_step
from pancode.workflows.step_start import StepStarter
from pancode.workflows.step_store import runs_of, steps_of


class Advancing:
    """Advances workflows step by step. Each change is one transaction, so a kill in between loses nothing.

    An action is deleted in the transaction that does the last of its work. A step with the id of a run that
    does not exist is dispatched with that id, also after a kill.
    """

    def __init__(self, core: Core, starter: StepStarter) -> None:
        self._core, self._starter = core, starter

    def do(self, run: str, stopping: Callable[[], bool]) -> None:
        """Advance a workflow; `run` is the workflow's id."""
        while not stopping():
            if not self._is_pending(run):
                return
            made = self._advance_workflow(run)
            if made.collect or made.measure:
                self._read(run, made)
                continue
            starting = [step for step in made.steps if step.state is WorkflowStepState.STARTING]
            for step in starting:
                if stopping():
                    return
                self._starter.start(made.workflow, step.name)
            if starting or made.release or made.stop:
                # Offer the new runs to nodes now; if this fails, the next pass does so.
                with suppress(UnavailableError), self._core.lock:
                    reconcile.act_now(self._core)
            if made.ended or not starting:
                return

    def give_up(self, run: str, error: Exception) -> None:
        """Mark a workflow that cannot be advanced as failed and stop its runs; pause a lane instead."""
        why = f"{type(error).__name__}: {error}"
        with unit_of_work(self._core) as work:
            self._forget(work, _list_actions(work.tx, run))
            view = rows.load_view(self._core, work.tx, run)
            if view is None or view.workflow.state not in OPEN:
                return
            now = self._core.wall_ms()
            if view.workflow.kind is WorkflowKind.LANE:
                return rows.write_changes(work, view, _update_lane(work, _pause_lane(view, why, now)))
            steps = tuple(_mark_failed(step, why, now) for step in view.steps)
            runs = tuple((str(s.run), why) for s in view.steps if s.run in view.runs and not s.state.is_over)
            workflow = replace(view.workflow, state=WorkflowState.FAILED, reason=why, finished_ms=now)
            changed = tuple(new for new, old in zip(steps, view.steps, strict=True) if new is not old)
            rows.write_changes(work, view, Advance(workflow, steps, changed, stop=runs))

    def _is_pending(self, workflow: str) -> bool:
        """Whether the workflow has open requests to advance; one execution covers all earlier requests."""
        with self._core.ports.ledger.transaction() as tx:
            return bool(_list_actions(tx, workflow))

    def _advance_workflow(self, workflow: str) -> Advance:
        """Load the workflow, decide on its next steps, and write them, in one transaction."""
        core = self._core
        with unit_of_work(core) as work:
            view = rows.load_view(core, work.tx, workflow)
            assert view is not None  # Workflows are never deleted.
            # Read the requests now, before this change adds new ones.
            actions = _list_actions(work.tx, workflow)
            made = advance(view)
            fresh = {name: new_id_in(core, work.tx) for name in made.start}
            began = {s.name: _mark_starting(s, fresh[s.name]) for s in made.steps if s.name in fresh}
            changed = (*(one for one in made.changed if one.name not in began), *began.values())
            steps = tuple(began.get(step.name, step) for step in made.steps)
            made = replace(made, steps=steps, changed=changed)
            made = _update_lane(work, made)
            rows.write_changes(work, view, made)
            if made.ended and made.workflow.state is WorkflowState.DONE:
                _land(work, made)
            pending = made.collect or made.measure
            if (
                made.ended
                or not pending
                and not any(step.state is WorkflowStepState.STARTING for step in steps)
            ):
                self._forget(work, actions)
                if made.next_ms is not None and not made.ended:
                    rows.ask_to_advance(work, made.workflow, made.next_ms)
            return made

    def _read(self, workflow: str, made: Advance) -> None:
        """Read the outputs of steps whose run is done, and the scores of racing steps, into the steps."""
        core, results = self._core, StepResults(self._core)
        with core.ports.ledger.transaction() as tx:
            view = rows.load_view(core, tx, workflow)
        assert view is not None
        found: dict[str, dict[str, object]] = {}
        for step in view.steps:
            run = view.run(step)
            if run is not None and step.name in made.collect:
                found[step.name] = _read_outputs(results, step, run)
            elif run is not None and step.name in made.measure:
                found[step.name] = {**step.outputs, **_score(results, view.workflow, run)}
        with unit_of_work(core) as work:
            for step in rows.steps_of(work.tx, workflow):
                if step.name in found:
                    rows.put_steps(work, replace(step, outputs=found[step.name]))

    def _forget(self, work: Work, actions: list[records.Action]) -> None:
        """Delete these actions, as everything that they requested is done."""
        for action in actions:
            work.tx.delete(records.Action, action.id)


def _read_outputs(results: StepResults, step: WorkflowStep, run: records.Run) -> dict[str, object]:
    """Return a step's outputs. An unreadable result fails the step, not the workflow. UnavailableError if the
    caller must retry."""
    try:
        return results.outputs(step, run)
    except UnavailableError:
        raise
    except PancodeError as error:
        return {"of": run.id, "problem": error.words}


def _score(results: StepResults, workflow: Workflow, run: records.Run) -> dict[str, object]:
    """Return a racing step's score; without one it cannot win. UnavailableError: the caller must retry."""
    try:
        by_command = workflow.race["by"] == RaceRule.SCORE
        return {"score": results.score(run) if by_command else str(results.lines(run))}
    except UnavailableError:
        raise
    except PancodeError as error:
        return {"score": None, "problem": error.words}


def _list_actions(tx: Transaction, workflow: str) -> list[records.Action]:
    """Return the actions that request the workflow to be advanced."""
    return [
        action
        for action in tx.find(records.Action, {"run": workflow})
        if action.kind is records.ActionKind.ADVANCE
    ]


def _land(work: Work, made: Advance) -> None:
    """Request the landing of the workflow's results if the caller asked for it or the settings require it."""
    if made.workflow.kind is WorkflowKind.BATCH:
        return  # Each run of a batch was landed separately.
    runs = runs_of(work.tx, made.steps)
    for name in results_of(made.workflow, made.steps, runs):
        if made.workflow.caller.get("land") or LandingTerms.of(runs[name]).lands:
            work.signal(runs[name], LandingDue())


def _mark_starting(step: WorkflowStep, run: str) -> WorkflowStep:
    return replace(step, state=WorkflowStepState.STARTING, run=run, runs=(*step.runs, run))


def _update_lane(work: Work, made: Advance) -> Advance:
    """Return the lane with the item at which it is stopped now; a new stop is reported once."""
    workflow = made.workflow
    if workflow.kind is not WorkflowKind.LANE:
        return made
    bad = lane_rules.stops_at(workflow, made.steps)
    what = "" if bad is None else f"lane {workflow.name} is stopped at item {bad.name}: {bad.reason}"
    now = None if bad is None else {"run": bad.run, "what": what}
    if now == workflow.lane.get("stands"):
        return made
    if bad is not None:
        item: dict[str, object] = {"kind": "lane", "words": what[:500]}
        item["command"] = f"pancode lane show {workflow.name}"
        work.happened(Happened(records.EventKind.INBOX_ITEM, bad.run, None, item))
    return replace(made, workflow=replace(workflow, lane={**workflow.lane, "stands": now}))


def _pause_lane(view: WorkflowView, why: str, now_ms: int) -> Advance:
    """Pause the lane and record the reason; the item that could not start is marked as failed."""
    paused = {"by": "PanCode", "at_ms": now_ms, "why": why}
    workflow = replace(view.workflow, lane={**view.workflow.lane, "paused": paused})
    starting = [step for step in view.steps if step.state is WorkflowStepState.STARTING]
    failed = {step.name: _mark_failed(step, why, now_ms) for step in starting}
    steps = tuple(failed.get(step.name, step) for step in view.steps)
    return Advance(workflow, steps, tuple(failed.values()))


def _mark_failed(step: WorkflowStep, why: str, now_ms: int) -> WorkflowStep:
    if step.state.is_over:
        return step
    return end_step(step, WorkflowStepState.FAILED, why, now_ms)


def make_threads(core: Core, around: Around) -> tuple[BackgroundThread, ...]:
    """Return the thread that advances workflows."""
    return (FollowOn(core, {records.ActionKind.ADVANCE: Advancing(core, StepStarter(core, around))}),)


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


FEATURE = Features(
    ceilings=(Hook(is_workflow, find_ceilings),),
    stays=(Hook(attrgetter("workflow"), find_stay),),
    facts=(find_facts,),
    larger=(find_larger,),
    series=(Hook(lambda kind: kind == "lane", find_series),),
    later=(find_later,),
    planned=(Hook(lambda kind: kind == PlannedWorkflow.kind, read_planned),),
    begun_by=(find_begun,),
    tables=TABLES,
    complete=(Hook(attrgetter("in_step"), step_replacement.retake_step),),
    join=(Hook(attrgetter("follows_step"), step_replacement.take_step),),
    needs=(find_need,),
    threads=(make_threads,),
)
