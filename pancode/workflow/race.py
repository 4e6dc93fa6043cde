"""Decides a race: at most one winner, ties by the order of the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from pancode.core.records import Run, RunState, Workflow, WorkflowStep, WorkflowStepState
from pancode.core.values import replace
from pancode.workflow.plan import RaceRule


def decided(
    workflow: Workflow, steps: Mapping[str, WorkflowStep], runs: Mapping[str, Run]
) -> tuple[Workflow, tuple[str, ...]]:
    """The workflow with its winner, when there is one now; the steps that need a number first."""
    if not workflow.race or workflow.winner is not None:
        return workflow, ()
    done = [step for step in steps.values() if step.state is WorkflowStepState.DONE]
    if workflow.race["by"] == RaceRule.FIRST:
        by_time = sorted(done, key=lambda step: (_finished_ms(step, runs), step.number))
        return (replace(workflow, winner=by_time[0].name), ()) if by_time else (workflow, ())
    if any(_goes_on(step) for step in steps.values()):
        return workflow, ()
    unmeasured = tuple(step.name for step in done if "score" not in step.outputs)
    if unmeasured:
        return workflow, unmeasured
    sign = -1 if workflow.race["by"] == RaceRule.SCORE else 1
    measured = [
        (sign * number, step.number, step.name) for step in done if (number := score(step)) is not None
    ]
    return (replace(workflow, winner=min(measured)[2]), ()) if measured else (workflow, ())


def score(step: WorkflowStep) -> Decimal | None:
    """The number that its result was given; None: none could be."""
    number = step.outputs.get("score")
    return None if number is None else Decimal(str(number))


def without_number(steps: Iterable[WorkflowStep]) -> str:
    """The racers without a number, and why."""
    none = [one for one in steps if one.state is WorkflowStepState.DONE and score(one) is None]
    return "; ".join(f"{one.name}: {one.outputs.get('problem') or 'no score'}" for one in none)[:500]


def _goes_on(step: WorkflowStep) -> bool:
    open_states = (WorkflowStepState.WAITING, WorkflowStepState.STARTING, WorkflowStepState.RUNNING)
    return step.state in open_states


def _finished_ms(step: WorkflowStep, runs: Mapping[str, Run]) -> int:
    run = runs.get(str(step.run))
    return run.finished_ms or 0 if run is not None and run.state is RunState.ENDED else 0
