"""Workflows in the simulation: begun, stopped and resumed by users, advanced by the coordinator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from pancode.config.user_environment import FileSurroundings
from pancode.kernel.records import Action, ActionKind, Run
from pancode.runs import follow_on_actions
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest
from pancode.workflows import actions as asked
from pancode.workflows.advancing import Advancing
from pancode.workflows.model import StepPlan, WorkflowPlan
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState
from pancode.workflows.rules import OPEN
from pancode.workflows.service import begin_workflow
from pancode.workflows.step_start import StepStarter
from pancode.workflows.store import steps_of
from tests.fakes.node import Script
from tests.simulation.flow_shapes import NEVER, PROJECT, SHAPES, Shape

if TYPE_CHECKING:
    from tests.simulation.world import SimWorld

NO_HOME = Path("/nonexistent/pancode")
MOST_FLOWS, MOST_RESUMES = 5, 12


class NoFiles(FileSurroundings):
    """Every folder is in one project, which has no files."""

    def project_of(self, folder: str) -> str | None:
        return PROJECT


AROUND = NoFiles(NO_HOME, {}, {}, NO_HOME / "none.yaml", None)


@dataclass(frozen=True)
class Wanted:
    """A workflow as users asked for it. `enough`: the rounds after which its judge approves."""

    shape: Shape
    enough: int = 1


class Flows:
    """What users have asked for, by the name of the workflow, and how each step of it ends."""

    def __init__(self) -> None:
        self.scripts: dict[tuple[str, str], Script] = {}
        self.wanted: dict[str, Wanted] = {}
        self.resumed: dict[str, int] = {}
        self.stopped: set[str] = set()

    def ask_for(self, name: str, wanted: Wanted) -> None:
        self.wanted[name] = wanted
        self.resumed[name] = 0

    def bad(self, name: str) -> set[str]:
        """The steps that fail whenever they are run: by their program, their judge, or what they merge."""
        found = {step for (flow, step), script in self.scripts.items() if flow == name and script.exit_code}
        wanted = self.wanted[name]
        if wanted.shape.torn:
            found.add(wanted.shape.torn)
        if wanted.shape.loop is not None and wanted.enough > wanted.shape.loop.most:
            found.add(wanted.shape.loop.judge)
        return found


def around(callers: object, preset: str | None = None) -> FileSurroundings:
    return AROUND


def task_of(step: str, needs: tuple[str, ...]) -> str:
    """Names the answer of each step that it needs."""
    return " ".join([f"do {step}", *(f"{{{{ steps.{need}.answer }}}}" for need in needs)])


def answer_of(flow: str, step: str) -> str:
    """The answer that its program gives, every time."""
    return f"{flow} has {step}"


def plan_of(w: SimWorld, name: str, shape: Shape) -> WorkflowPlan:
    r = w.random
    return WorkflowPlan(
        kind=shape.kind,
        name=name,
        by="sim",
        input="",
        cwd=PROJECT if shape.git else None,
        steps=tuple(step_plan(shape, step, r.choice(("ask", "retry"))) for step in shape.steps),
        concurrency=r.choice((None, None, 1, 2)),
        stagger_ms=r.choice((0, 0, 2_000)),
        fail_fast=shape.kind is WorkflowKind.BATCH and r.random() < 0.3,
        race={"by": r.choice(("first", "smallest"))} if shape.kind is WorkflowKind.RACE else {},
    )


def step_plan(shape: Shape, step: str, on_lost: str = "ask") -> StepPlan:
    request = DispatchRequest(
        task=task_of(step, shape.steps[step]),
        created_by="sim",
        runtime="scripted",
        budget=Decimal(1),
        workspace="git" if shape.git else "none",
        told_only=True,
        on_lost=on_lost,
    )
    loop = shape.loop
    keys = loop.keys() if loop is not None and loop.judge == step else {}
    return StepPlan(step, request, shape.steps[step], **keys)


def script_of(w: SimWorld, name: str, step: str, fails: bool) -> Script:
    cost = w.random.choice(("0.01", "0.02"))
    answer = f'{{"answer": "{answer_of(name, step)}", "in": 10, "out": 5, "usd": "{cost}"}}\n'
    git = w.flows.wanted[name].shape.git
    return Script(
        duration_ms=w.random.choice(w.kind.durations),
        exit_code=int(fails),
        output=answer.encode(),
        kind="change" if git else "none",
        files=("a.txt",) if git else (),
    )


# -- what users do --------------------------------------------------------------------------------


def flow(w: SimWorld) -> None:
    r = w.random
    shape = r.choice(tuple(SHAPES))
    name = f"flow{len(w.flows.resumed)}"
    if w.coordinator.awake is None or len(w.flows.resumed) >= MOST_FLOWS:
        return
    wanted = Wanted(SHAPES[shape], r.choice((1, 2, 2, 3, NEVER)))
    w.flows.ask_for(name, wanted)
    plan = plan_of(w, name, wanted.shape)
    fails = r.choice(plan.steps).name if r.random() < 0.3 and not w.flows.bad(name) else ""
    for step in plan.steps:
        w.flows.scripts[(name, step.name)] = script_of(w, name, step.name, step.name == fails)
    w.say(f"{shape} {name}, {fails or 'nothing'} fails, {wanted.enough} rounds are enough")
    done = w.coordinator.ask(lambda core: begin_workflow(core, AROUND, plan))
    assign(w)
    w.say(f"{name} {'began' if done else 'was refused, or nobody knows'}")


def stop_flow(w: SimWorld) -> None:
    found = [one for one in workflows(w) if one.state is WorkflowState.RUNNING]
    if found:
        one = w.random.choice(found)
        w.say(f"stop {one.name}")
        w.coordinator.ask(lambda core: asked.stop_workflow(core, one.id, "by the simulation", "sim"))


def resume_flow(w: SimWorld) -> None:
    found = [one for one in workflows(w) if one.state not in (*OPEN, WorkflowState.DONE)]
    if found:
        resume(w, w.random.choice(found))


def resume(w: SimWorld, one: Workflow) -> None:
    w.say(f"resume {one.name}, which has {one.state}: {one.reason[:80]}")
    core = w.coordinator.core
    w.flows.resumed[one.name] += 1
    done = w.coordinator.ask(lambda core: asked.resume_workflow(core, AROUND, one.id, "sim"))
    if not done and w.coordinator.core is core:
        w.flows.resumed[one.name] -= 1  # refused, for example while no node has told its runtimes


# -- what the coordinator does ---------------------------------------------------------------------


def follow(w: SimWorld) -> None:
    """One round of the thread that advances workflows; it may die between any two calls."""
    core = w.coordinator.awake
    if core is None or not w.flows.resumed:
        return
    for workflow in due(w):
        w.coordinator.guarded(_advanced(w, core, workflow))
        assign(w)
        if w.coordinator.core is not core:
            return


def _advanced(w: SimWorld, core: Core, workflow: str) -> Callable[[], None]:
    advancing = Advancing(core, StepStarter(core, around))
    return lambda: advancing.do(workflow, lambda: w.coordinator.core is not core)


def due(w: SimWorld) -> list[str]:
    """Workflows that are to be looked at now."""
    with w.coordinator.seen() as tx:
        held: frozenset[str] = vars(follow_on_actions)["list_held"](tx)  # as its thread asks
        found = [one for one in tx.find(Action) if one.kind is ActionKind.ADVANCE and one.run not in held]
    return list(dict.fromkeys(one.run for one in found if one.at_ms <= w.clock.wall_ms()))


def assign(w: SimWorld) -> None:
    """Each run of a workflow does what its step does, before any node has begun it."""
    names = {one.id: one.name for one in workflows(w)}
    known = w.machines[0].scripts
    with w.coordinator.seen() as tx:
        runs = [run for run in tx.find(Run) if run.workflow is not None and run.id not in known]
    for run in runs:
        name, step = names[str(run.workflow)], str(run.step)
        script, wanted = w.flows.scripts[(name, step)], w.flows.wanted[name]
        if wanted.shape.git:
            w.trees.work[run.id] = wanted.shape.work(step, wanted.enough)
        for machine in w.machines:
            machine.scripts[run.id] = script


def workflows(w: SimWorld) -> list[Workflow]:
    with w.coordinator.seen() as tx:
        return tx.find(Workflow, order="created_ms")


# -- the end of faults -----------------------------------------------------------------------------


def go_on(w: SimWorld) -> None:
    """Users resume what ended otherwise than it would have without faults and stops."""
    for one in workflows(w):
        wanted = one.state not in OPEN and not ended_as_it_should(w, one)
        if wanted and w.flows.resumed[one.name] < MOST_RESUMES:
            resume(w, one)


def ended_as_it_should(w: SimWorld, one: Workflow) -> bool:
    """As a run without any fault and stop would have ended."""
    with w.coordinator.seen() as tx:
        steps = steps_of(tx, one.id)
    bad = w.flows.bad(one.name)
    if one.kind is WorkflowKind.RACE:
        return one.winner is not None and one.winner not in bad
    failed = {step.name for step in steps if step.state == "failed"}
    return one.state is WorkflowState.DONE if not bad else failed == bad


def at_rest(w: SimWorld) -> bool:
    return all(one.state not in OPEN for one in workflows(w)) and not due(w)
