"""Workflows in the simulation: begun, stopped and resumed by people, advanced by the coordinator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pancode.config.surroundings import FileSurroundings
from pancode.control.plane import Plane
from pancode.control.workflow import asked
from pancode.control.workflow.advancing import Advancing
from pancode.control.workflow.begin import begin
from pancode.control.workflow.rows import steps_of
from pancode.control.workflow.starting import StepStarter
from pancode.domain.dispatch.request import DispatchRequest
from pancode.domain.records import Action, ActionKind, Run, Workflow, WorkflowKind, WorkflowState
from pancode.domain.workflow.advance import OPEN
from pancode.domain.workflow.plan import StepPlan, WorkflowPlan
from tests.fakes.node import Script

if TYPE_CHECKING:
    from tests.simulation.world import World

NO_HOME = Path("/nonexistent/pancode")
AROUND = FileSurroundings(NO_HOME, {}, {}, NO_HOME / "none.yaml", None)
MOST_FLOWS, MOST_RESUMES = 5, 12
SHAPES: dict[str, tuple[WorkflowKind, dict[str, tuple[str, ...]]]] = {
    "batch": (WorkflowKind.BATCH, {"a": (), "b": (), "c": (), "d": ()}),
    "chain": (WorkflowKind.CHAIN, {"a": (), "b": ("a",), "c": ("b",)}),
    "diamond": (WorkflowKind.GRAPH, {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}),
    "wide": (WorkflowKind.GRAPH, {"a": (), "b": (), "c": ("a", "b"), "d": ("a",)}),
    "race": (WorkflowKind.RACE, {"a": (), "b": (), "c": ()}),
}


class Flows:
    """What people have asked for, by the name of the workflow, and how each step of it ends."""

    def __init__(self) -> None:
        self.scripts: dict[tuple[str, str], Script] = {}
        self.resumed: dict[str, int] = {}
        self.stopped: set[str] = set()

    def bad(self, name: str) -> set[str]:
        """The steps whose program fails whenever it is run."""
        return {step for (flow, step), script in self.scripts.items() if flow == name and script.exit_code}


def around(callers: object, preset: str | None) -> FileSurroundings:
    return AROUND


def task_of(step: str, needs: tuple[str, ...]) -> str:
    """Names the answer of each step that it needs."""
    return " ".join([f"do {step}", *(f"{{{{ steps.{need}.answer }}}}" for need in needs)])


def answer_of(flow: str, step: str) -> str:
    """The answer that its program gives, every time."""
    return f"{flow} has {step}"


def plan_of(w: World, name: str, shape: str) -> WorkflowPlan:
    kind, steps = SHAPES[shape]
    r = w.random
    return WorkflowPlan(
        kind=kind,
        name=name,
        by="sim",
        input="",
        cwd=None,
        steps=tuple(_step(w, step, needs) for step, needs in steps.items()),
        concurrency=r.choice((None, None, 1, 2)),
        stagger_ms=r.choice((0, 0, 2_000)),
        fail_fast=kind is WorkflowKind.BATCH and r.random() < 0.3,
        race={"by": r.choice(("first", "smallest"))} if kind is WorkflowKind.RACE else {},
    )


def _step(w: World, step: str, needs: tuple[str, ...]) -> StepPlan:
    request = DispatchRequest(
        task=task_of(step, needs),
        created_by="sim",
        runtime="scripted",
        workspace="none",
        told_only=True,
        on_lost=w.random.choice(("ask", "retry")),
    )
    return StepPlan(step, request, needs)


def script_of(w: World, name: str, step: str, fails: bool) -> Script:
    cost = w.random.choice(("0.01", "0.02"))
    answer = f'{{"answer": "{answer_of(name, step)}", "in": 10, "out": 5, "usd": "{cost}"}}\n'
    return Script(
        duration_ms=w.random.choice(w.kind.durations),
        exit_code=int(fails),
        output=answer.encode(),
        kind="none",
        files=(),
    )


# -- what people do --------------------------------------------------------------------------------


def flow(w: World) -> None:
    shape, r = w.random.choice(tuple(SHAPES)), w.random
    name = f"flow{len(w.flows.resumed)}"
    if w.coordinator.awake is None or len(w.flows.resumed) >= MOST_FLOWS:
        return
    plan = plan_of(w, name, shape)
    fails = r.choice(plan.steps).name if r.random() < 0.3 else ""
    w.flows.resumed[name] = 0
    for step in plan.steps:
        w.flows.scripts[(name, step.name)] = script_of(w, name, step.name, step.name == fails)
    w.say(f"{shape} {name}, {fails or 'nothing'} fails")
    done = w.coordinator.ask(lambda p: begin(p.core, AROUND, plan))
    assign(w)
    w.say(f"{name} {'began' if done else 'was refused, or nobody knows'}")


def stop_flow(w: World) -> None:
    found = [one for one in workflows(w) if one.state is WorkflowState.RUNNING]
    if found:
        one = w.random.choice(found)
        w.say(f"stop {one.name}")
        w.coordinator.ask(lambda p: asked.stop(p.core, one.id, "by the simulation", "sim"))


def resume_flow(w: World) -> None:
    found = [one for one in workflows(w) if one.state not in (*OPEN, WorkflowState.DONE)]
    if found:
        resume(w, w.random.choice(found))


def resume(w: World, one: Workflow) -> None:
    w.say(f"resume {one.name}, which has {one.state}: {one.reason[:80]}")
    w.flows.resumed[one.name] += 1
    w.coordinator.ask(lambda p: asked.resume(p.core, AROUND, one.id, "sim"))


# -- what the coordinator does ---------------------------------------------------------------------


def follow(w: World) -> None:
    """One round of the thread that advances workflows; it may die between any two calls."""
    plane = w.coordinator.awake
    if plane is None or not w.flows.resumed:
        return
    for workflow in due(w):
        w.coordinator.guarded(_advanced(w, plane, workflow))
        assign(w)
        if w.coordinator.plane is not plane:
            return


def _advanced(w: World, plane: Plane, workflow: str) -> Callable[[], None]:
    advancing = Advancing(plane.core, StepStarter(plane.core, around))
    return lambda: advancing.do(workflow, lambda: w.coordinator.plane is not plane)


def due(w: World) -> list[str]:
    """Workflows that are to be looked at now."""
    with w.coordinator.seen() as tx:
        found = [one for one in tx.find(Action) if one.kind is ActionKind.ADVANCE]
    return list(dict.fromkeys(one.run for one in found if one.at_ms <= w.clock.wall_ms()))


def assign(w: World) -> None:
    """Each run of a workflow does what its step does, before any node has begun it."""
    names = {one.id: one.name for one in workflows(w)}
    known = w.machines[0].scripts
    with w.coordinator.seen() as tx:
        runs = [run for run in tx.find(Run) if run.workflow is not None and run.id not in known]
    for run in runs:
        script = w.flows.scripts[(names[str(run.workflow)], str(run.step))]
        for machine in w.machines:
            machine.scripts[run.id] = script


def workflows(w: World) -> list[Workflow]:
    with w.coordinator.seen() as tx:
        return tx.find(Workflow, order="created_ms")


# -- the end of faults -----------------------------------------------------------------------------


def go_on(w: World) -> None:
    """People resume what ended otherwise than it would have without faults and stops."""
    for one in workflows(w):
        wanted = one.state not in OPEN and not ended_as_it_should(w, one)
        if wanted and w.flows.resumed[one.name] < MOST_RESUMES:
            resume(w, one)


def ended_as_it_should(w: World, one: Workflow) -> bool:
    """As a run without any fault and stop would have ended."""
    with w.coordinator.seen() as tx:
        steps = steps_of(tx, one.id)
    bad = w.flows.bad(one.name)
    if one.kind is WorkflowKind.RACE:
        return one.winner is not None and one.winner not in bad
    failed = {step.name for step in steps if step.state == "failed"}
    return one.state is WorkflowState.DONE if not bad else failed == bad


def at_rest(w: World) -> bool:
    return all(one.state not in OPEN for one in workflows(w)) and not due(w)
