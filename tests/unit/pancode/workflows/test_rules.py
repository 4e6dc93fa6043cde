"""How a workflow continues in single cases: a step stopped by hand, a job that is not that of the needs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.rounds import CONFLICT, once_more
from pancode.workflows.rules import Advance, WorkflowView, advance
from tests.unit.pancode.runs.world import a_run


def step(number: int, name: str, *needs: str, **more: Any) -> WorkflowStep:
    return replace(WorkflowStep("w-1", number, name, needs, {}), **more)


def run(name: str, **more: Any) -> Run:
    return replace(a_run(f"r-{name}", 0, Decimal(0), workflow="w-1", step=name), **more)


def states(made: Advance) -> dict[str, str]:
    return {one.name: one.state.value for one in made.steps}


def looked(*steps: WorkflowStep, runs: Mapping[str, Run], **more: Any) -> Advance:
    workflow = replace(Workflow("w-1", 0, "ana", WorkflowKind.GRAPH, "any", "", None), **more)
    return advance(WorkflowView(workflow, steps, runs, 1))


def test_steps_listed_before_their_needs_are_skipped_in_one_look() -> None:
    stopped = run("z", state=RunState.ENDED, outcome=Outcome.INTERRUPTED, stop_asked="enough")
    z = step(2, "z", state=WorkflowStepState.RUNNING, run="r-z", runs=("r-z",))
    made = looked(step(0, "c", "b"), step(1, "b", "z"), z, runs={"r-z": stopped})
    assert states(made) == {"c": "skipped", "b": "skipped", "z": "stopped"}
    assert made.workflow.state is WorkflowState.FAILED and made.ended


def test_a_step_that_was_starting_keeps_no_run_that_never_was() -> None:
    starting = step(0, "a", state=WorkflowStepState.STARTING, run="r-2", runs=("r-1", "r-2"))
    made = looked(starting, runs={}, stop_asked="enough", state=WorkflowState.STOPPING)
    assert states(made) == {"a": "stopped"}
    assert (made.steps[0].run, made.steps[0].runs) == (None, ("r-1",))


def test_a_step_that_begins_once_more_forgets_a_conflict_and_keeps_its_verdict() -> None:
    said = {"verdict": {"ok": False}, CONFLICT: ["a.py"]}
    judged = step(1, "a", round=2, most=3, until={"field": "ok", "equals": True}, outputs=said)
    assert once_more(judged).outputs == {"verdict": {"ok": False}}
    assert once_more(replace(judged, until={})).outputs == {}
