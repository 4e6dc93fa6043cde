"""Decides how a workflow advances: which steps start or end, which wins, which runs stop, how it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.workflows import lane_rules, questions, rounds
from pancode.workflows.model import RaceRule
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState

BAD = frozenset({WorkflowStepState.FAILED, WorkflowStepState.REFUSED})
LONGEST_HOLD_MS = 3_600_000
"""A step that waits for a circuit breaker is checked again after at most so many milliseconds."""
OPEN = frozenset({WorkflowState.RUNNING, WorkflowState.STOPPING})


@dataclass(frozen=True, slots=True)
class WorkflowView:
    """A workflow with all its steps, in order, and the newest run of each step."""

    workflow: Workflow
    steps: tuple[WorkflowStep, ...]
    runs: Mapping[str, Run]
    now_ms: int
    questions: frozenset[str] = frozenset()
    """Those of these runs that ended with a question that still waits for a user."""

    def run(self, step: WorkflowStep) -> Run | None:
        return self.runs.get(step.run) if step.run is not None else None


@dataclass(frozen=True, slots=True)
class Advance:
    """The changes to write and the work to do next. `changed`: the steps that differ from before."""

    workflow: Workflow
    steps: tuple[WorkflowStep, ...]
    changed: tuple[WorkflowStep, ...] = ()
    start: tuple[str, ...] = ()
    """Steps to dispatch."""
    release: tuple[str, ...] = ()
    """Runs that were held back and may start now."""
    stop: tuple[tuple[str, str], ...] = ()
    """The runs to stop, each with the reason."""
    collect: tuple[str, ...] = ()
    """Steps whose run is done and whose outputs must be read first."""
    measure: tuple[str, ...] = ()
    """Steps of a race whose result needs a score first."""
    unasked: tuple[tuple[str, str], ...] = ()
    """Runs whose question no longer needs an answer, each with the reason."""
    next_ms: int | None = None
    """When the workflow must be checked again even if no event comes; None: not before the next event."""

    @property
    def ended(self) -> bool:
        return self.workflow.finished_ms is not None


def advance(view: WorkflowView) -> Advance:
    """Return all changes that follow from the current state of the runs. Pure and deterministic."""
    if view.workflow.state not in OPEN:
        return Advance(view.workflow, view.steps)
    collect = tuple(step.name for step in view.steps if _to_collect(view, step))
    steps = {step.name: _judge_step(view, step) for step in view.steps if step.name not in collect}
    steps = {step.name: steps.get(step.name, step) for step in view.steps}
    for step in view.steps:  # A later step may start another round of an earlier one.
        steps = rounds.begun_again(steps, steps[step.name], view.now_ms)
    steps = {name: lane_rules.apply_skip(step, view.now_ms) for name, step in steps.items()}
    workflow, measure = decide_winner(view.workflow, steps, view.runs)
    steps = _cut(replace(view, workflow=workflow), steps)
    started, released, next_ms = _select_ready(replace(view, workflow=workflow), steps)
    steps = {**steps, **{step.name: step for step in released}}
    stop = tuple(_list_stops(workflow, steps, view))
    workflow = workflow if collect or measure else _end_workflow(workflow, steps, view.now_ms)
    before = {step.name: step for step in view.steps}
    return Advance(
        workflow=workflow,
        steps=tuple(steps.values()),
        changed=tuple(step for step in steps.values() if step != before[step.name]),
        start=tuple(step.name for step in started),
        release=tuple(str(step.run) for step in released),
        stop=stop,
        collect=collect,
        measure=measure,
        unasked=questions.find_obsolete(view.steps, steps, view.questions),
        next_ms=next_ms,
    )


def _ended_run(view: WorkflowView, step: WorkflowStep) -> Run | None:
    """Return the step's run if it has ended and the step has not recorded that yet; else None."""
    run = view.run(step)
    if run is None or run.state is not RunState.ENDED:
        return None
    came_back = step.state is WorkflowStepState.FAILED and step.lost == run.id and not _is_lost(run)
    return run if came_back or step.state in (WorkflowStepState.RUNNING, WorkflowStepState.WAITING) else None


def _is_lost(run: Run) -> bool:
    return run.outcome is Outcome.LOST


def _to_collect(view: WorkflowView, step: WorkflowStep) -> bool:
    run = _ended_run(view, step)
    collects = bool(step.files or step.verdict or step.request.get("resolves"))
    return collects and run is not None and run.outcome is Outcome.DONE and step.outputs.get("of") != run.id


def _judge_step(view: WorkflowView, step: WorkflowStep) -> WorkflowStep:
    """Return the step with the result of its run, if the run has ended."""
    run = _ended_run(view, step)
    if run is None:
        return step
    if run.id in view.questions:
        return questions.mark_waiting(step, run)
    if step.item and lane_rules.is_unsettled(run):
        return step
    step = replace(step, lost=run.id if _is_lost(run) else None)
    if run.outcome is Outcome.DONE:
        problem = str(step.outputs.get("problem") or "")
        state = WorkflowStepState.FAILED if problem else WorkflowStepState.DONE
        return end_step(step, state, problem, view.now_ms)
    state = WorkflowStepState.STOPPED if run.stop_asked is not None else WorkflowStepState.FAILED
    return end_step(step, state, f"{run.outcome}: {run.reason}", view.now_ms)


def end_step(step: WorkflowStep, state: WorkflowStepState, reason: str, now_ms: int) -> WorkflowStep:
    """Return the ended step. If it was still starting, its run id is removed: the run was never written."""
    if step.state is WorkflowStepState.STARTING:
        step = replace(step, run=None, runs=step.runs[:-1])
    return replace(step, state=state, reason=reason, finished_ms=now_ms)


def _cut(view: WorkflowView, steps: Mapping[str, WorkflowStep]) -> dict[str, WorkflowStep]:
    """End the steps that will never start: after a stop, a won race, or a failure."""
    workflow, bad = view.workflow, [step for step in steps.values() if step.state in BAD]
    asking = {step.name for step in steps.values() if questions.is_asking(step, view.questions)}
    left = [
        step
        for step in steps.values()
        if not step.state.is_over and (view.run(step) is None or step.name in asking)
    ]
    if workflow.stop_asked is not None:
        state, why = WorkflowStepState.STOPPED, workflow.stop_asked
    elif workflow.winner is not None:
        state, why = WorkflowStepState.STOPPED, f"{workflow.winner} won the race"
    elif bad and (workflow.fail_fast or is_in_order(workflow)):
        state, why = WorkflowStepState.SKIPPED, f"step {bad[0].name} did not succeed"
    else:
        return {**steps, **_without_needs(steps, left, view.now_ms)}
    over = (end_step(one, _find_end_state(state, one.name in asking), why, view.now_ms) for one in left)
    return {**steps, **{one.name: one for one in over}}


def _find_end_state(state: WorkflowStepState, is_asking: bool) -> WorkflowStepState:
    """Return a step's state if it ends early: stopped if it asked a user, as it had started; else skipped."""
    return WorkflowStepState.STOPPED if is_asking else state


def _without_needs(
    steps: Mapping[str, WorkflowStep], left: Iterable[WorkflowStep], now_ms: int
) -> dict[str, WorkflowStep]:
    """Skip steps that directly or indirectly need a stopped or skipped one; return the changed steps."""
    over: dict[str, WorkflowStep] = {}
    waiting, found = list(left), True
    while found:
        now = {**steps, **over}
        found = False
        for step in waiting:
            missing = [
                n for n in step.needs if now[n].state.is_over and now[n].state is not WorkflowStepState.DONE
            ]
            if missing and step.name not in over:
                reason = f"step {missing[0]} did not succeed"
                over[step.name] = end_step(step, WorkflowStepState.SKIPPED, reason, now_ms)
                found = True
    return over


def _select_ready(
    view: WorkflowView, steps: Mapping[str, WorkflowStep]
) -> tuple[list[WorkflowStep], list[WorkflowStep], int | None]:
    """Return steps to dispatch, steps whose held-back run may start, and the time of the next check."""
    workflow, due, now_ms = view.workflow, list[int](), view.now_ms
    started, released = list[WorkflowStep](), list[WorkflowStep]()
    if workflow.stop_asked is not None or _gave_up(workflow, steps):
        return [], [], None
    room = (workflow.concurrency or len(steps)) - sum(is_active(step) for step in steps.values())
    for step in (
        lane_rules.select_next(workflow, steps) if workflow.kind is WorkflowKind.LANE else steps.values()
    ):
        if step.state is not WorkflowStepState.WAITING or not _is_ready(step, steps):
            continue
        if questions.is_asking(step, view.questions):
            continue
        if room <= len(started) + len(released):
            break
        if (at_ms := _begins_ms(workflow, step, now_ms)) > now_ms:
            due.append(at_ms)
        elif step.run is None:
            started.append(step)
        else:
            released.append(replace(step, state=WorkflowStepState.RUNNING, started_ms=view.now_ms))
    return started, released, min(due, default=None)


def _begins_ms(workflow: Workflow, step: WorkflowStep, now_ms: int) -> int:
    """Return when a waiting step may start; ignore a time too far ahead, as the clock was set back."""
    longest, until = max(LONGEST_HOLD_MS, step.number * workflow.stagger_ms), step.begins_ms or 0
    return until if until - now_ms <= longest else 0


def _gave_up(workflow: Workflow, steps: Mapping[str, WorkflowStep]) -> bool:
    """Whether no further step starts, because a race is won or a failed step ends the rest."""
    bad = bool(_find_bad_step(steps))
    return workflow.winner is not None or (bad and (workflow.fail_fast or is_in_order(workflow)))


def is_in_order(workflow: Workflow) -> bool:
    """Whether the workflow's steps build on each other, so that a failed one ends the rest."""
    return workflow.kind in (WorkflowKind.CHAIN, WorkflowKind.GRAPH)


def mark_running(workflow: Workflow) -> Workflow:
    """Return the workflow in the state running."""
    return replace(workflow, state=WorkflowState.RUNNING, reason="", stop_asked=None, finished_ms=None)


def is_active(step: WorkflowStep) -> bool:
    """Whether the step takes one of the slots of `concurrency`."""
    return step.state in (WorkflowStepState.STARTING, WorkflowStepState.RUNNING)


def _is_ready(step: WorkflowStep, steps: Mapping[str, WorkflowStep]) -> bool:
    return all(steps[need].state is WorkflowStepState.DONE for need in step.needs)


def _list_stops(
    workflow: Workflow, steps: Mapping[str, WorkflowStep], view: WorkflowView
) -> Iterable[tuple[str, str]]:
    """Yield the runs to stop with the reason; after a failure in a chain or graph, only held-back runs."""
    why, held_only = _why_stop(workflow, steps), False
    if not why and _gave_up(workflow, steps):
        why, held_only = f"step {_find_bad_step(steps)} did not succeed", True
    for step in steps.values():
        run, because = view.run(step), why or lane_rules.explain_skip(step)
        is_meant = step.state is WorkflowStepState.WAITING or not held_only
        if not because or not is_meant or run is None:
            continue
        if run.state is not RunState.ENDED and run.stop_asked is None:
            yield run.id, because


def _why_stop(workflow: Workflow, steps: Mapping[str, WorkflowStep]) -> str:
    if workflow.stop_asked is not None:
        return workflow.stop_asked
    if workflow.winner is not None:
        return f"{workflow.winner} won the race"
    bad = _find_bad_step(steps)
    return f"step {bad} did not succeed (fail fast)" if workflow.fail_fast and bad else ""


def _find_bad_step(steps: Mapping[str, WorkflowStep]) -> str:
    """Return the name of the first step that did not succeed; empty if there is none."""
    return next((step.name for step in steps.values() if step.state in BAD), "")


def _end_workflow(workflow: Workflow, steps: Mapping[str, WorkflowStep], now_ms: int) -> Workflow:
    """Return the workflow as ended if all its steps have ended. A lane stays open until it is removed."""
    if workflow.kind is WorkflowKind.LANE and workflow.stop_asked is None:
        return workflow
    if not all(step.state.is_over for step in steps.values()):
        return workflow
    state, reason = _end(workflow, list(steps.values()))
    return replace(workflow, state=state, reason=reason, finished_ms=now_ms)


def _end(workflow: Workflow, steps: list[WorkflowStep]) -> tuple[WorkflowState, str]:
    done = sum(step.state is WorkflowStepState.DONE for step in steps)
    bad = [step for step in steps if step.state in BAD]
    first = f"{bad[0].name}: {bad[0].reason}" if bad else ""
    if workflow.kind is WorkflowKind.LANE:
        return WorkflowState.STOPPED, str(workflow.stop_asked)
    if workflow.winner is not None:
        return WorkflowState.DONE, f"{workflow.winner} has won"
    if workflow.race:
        no_winner = f"no winner: {first or without_number(steps) or 'no run is done'}"
        stopped = workflow.stop_asked is not None
        return (
            (WorkflowState.STOPPED, str(workflow.stop_asked))
            if stopped
            else (WorkflowState.FAILED, no_winner)
        )
    if done == len(steps):
        return WorkflowState.DONE, ""
    if workflow.stop_asked is not None:
        return WorkflowState.STOPPED, workflow.stop_asked
    if workflow.kind is WorkflowKind.BATCH and done:
        return WorkflowState.PARTIAL, f"{done} of {len(steps)} are done; {first}".removesuffix("; ")
    return WorkflowState.FAILED, first or "; ".join(f"{s.name}: {s.reason}" for s in steps if s.reason)[:500]


def decide_winner(
    workflow: Workflow, steps: Mapping[str, WorkflowStep], runs: Mapping[str, Run]
) -> tuple[Workflow, tuple[str, ...]]:
    """Return the workflow, with its winner if decided, and the steps whose results need a score first."""
    if not workflow.race or workflow.winner is not None:
        return workflow, ()
    done = [step for step in steps.values() if step.state is WorkflowStepState.DONE]
    if workflow.race["by"] == RaceRule.FIRST:
        by_time = sorted(done, key=lambda step: (_finished_ms(step, runs), step.number))
        return (replace(workflow, winner=by_time[0].name), ()) if by_time else (workflow, ())
    if any(_is_open(step) for step in steps.values()):
        return workflow, ()
    unmeasured = tuple(step.name for step in done if "score" not in step.outputs)
    if unmeasured:
        return workflow, unmeasured
    sign = -1 if workflow.race["by"] == RaceRule.SCORE else 1
    measured = [
        (sign * number, step.number, step.name) for step in done if (number := read_score(step)) is not None
    ]
    return (replace(workflow, winner=min(measured)[2]), ()) if measured else (workflow, ())


def read_score(step: WorkflowStep) -> Decimal | None:
    """Return the score of the step's result, or None."""
    number = step.outputs.get("score")
    return None if number is None else Decimal(str(number))


def without_number(steps: Iterable[WorkflowStep]) -> str:
    """Return text about the competitors without a score, each with the reason."""
    none = [one for one in steps if one.state is WorkflowStepState.DONE and read_score(one) is None]
    return "; ".join(f"{one.name}: {one.outputs.get('problem') or 'no score'}" for one in none)[:500]


def _is_open(step: WorkflowStep) -> bool:
    open_states = (WorkflowStepState.WAITING, WorkflowStepState.STARTING, WorkflowStepState.RUNNING)
    return step.state in open_states


def _finished_ms(step: WorkflowStep, runs: Mapping[str, Run]) -> int:
    run = runs.get(str(step.run))
    return run.finished_ms or 0 if run is not None and run.state is RunState.ENDED else 0
