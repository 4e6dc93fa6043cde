"""Advances workflows with follow-on actions; an action's row exists until its work is done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from pancode.kernel import records
from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.ports import Transaction
from pancode.kernel.values import replace
from pancode.runs import reconcile
from pancode.runs.core import Core
from pancode.runs.dispatch import new_id_in
from pancode.runs.facts import LandingTerms
from pancode.runs.life.changes import Happened
from pancode.runs.life.ends import LandingDue
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.workflows import lane_rules
from pancode.workflows import store as rows
from pancode.workflows.model import RaceRule
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.results import StepResults, results_of
from pancode.workflows.rules import OPEN, Advance, WorkflowView, advance, end_step
from pancode.workflows.step_start import StepStarter
from pancode.workflows.step_store import runs_of


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
