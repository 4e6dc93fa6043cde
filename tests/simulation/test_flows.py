"""A coordinator that is killed at each moment of a workflow's advance; a batch that adds up exactly."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from random import Random  # noqa: TID251 - seeded, which is the point

import pytest

from node_agent.wire.failure import Outcome
from pancode.control.workflow.begin import begin
from pancode.control.workflow.rows import steps_of
from pancode.domain.books import workflow_scope
from pancode.domain.dispatch.request import DispatchRequest
from pancode.domain.records import Balance, BookEntry, Run, WorkflowKind
from pancode.domain.workflow.plan import StepPlan, WorkflowPlan
from tests.simulation import flows
from tests.simulation.schedule import Schedule

MOMENTS = 45
TASKS = 200


def calm() -> Schedule:
    """A fleet to which nothing happens but what a test does to it."""
    made = Schedule(1, "flows")
    made.kind = replace(made.kind, durations=(500,))
    made.begin()
    return made


def begun(world: Schedule, shape: str, name: str = "it") -> None:
    kind, steps = flows.SHAPES[shape]
    plan = WorkflowPlan(kind, name, "sim", "", None, tuple(_step(one, needs) for one, needs in steps.items()))
    world.flows.resumed[name] = 0
    for step in steps:
        world.flows.scripts[(name, step)] = flows.script_of(world, name, step, False)
    world.coordinator.ask(lambda p: begin(p.core, flows.AROUND, plan))
    flows.assign(world)


def _step(name: str, needs: tuple[str, ...], task: str = "") -> StepPlan:
    request = DispatchRequest(
        task=task or flows.task_of(name, needs),
        created_by="sim",
        runtime="scripted",
        workspace="none",
        told_only=True,
    )
    return StepPlan(name, request, needs)


def settled(world: Schedule) -> None:
    for _ in range(300):
        world.step(1_000)
        if flows.at_rest(world) and flows.workflows(world):
            return
    raise AssertionError([(one.state, one.reason) for one in flows.workflows(world)])


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["chain", "diamond"])
def test_killed_at_each_moment_of_its_advance_it_ends_as_if_nothing_had_been(shape: str) -> None:
    """The coordinator dies before and after each commit, from the one that begins it to the last."""
    killed = 0
    for moment in range(1, MOMENTS):
        world = calm()
        begun(world, shape)
        lives = world.coordinator.lives
        world.coordinator.crash_in(moment)
        settled(world)
        killed += world.coordinator.lives > lives
        (one,) = flows.workflows(world)
        with world.coordinator.seen() as tx:
            steps, runs = steps_of(tx, one.id), tx.find(Run, {"workflow": one.id})
        assert one.state == "done", (moment, one.state, one.reason)
        assert all(len(step.runs) == 1 for step in steps) and len(runs) == len(steps), moment
        world.flow_truth.at_the_end()
    assert killed > MOMENTS // 2


@pytest.mark.slow
def test_200_tasks_on_two_nodes_with_failures_add_up_exactly() -> None:
    random, world = Random(5), calm()
    for machine in world.machines:
        world.coordinator.ask(lambda p, m=machine: p.nodes.change(m.name, lambda n: replace(n, slots=8)))  # type: ignore[misc]
        machine.slots = machine.most_slots = 8
    names = [f"t{number}" for number in range(TASKS)]
    costs = {name: Decimal(random.randrange(1, 100)) / 100 for name in names}
    fails = {name for name in names if random.random() < 0.3}
    for name in names:
        made = flows.script_of(world, "it", name, name in fails)
        output = f'{{"answer": "it has {name}", "in": 10, "out": 5, "usd": "{costs[name]}"}}\n'
        world.flows.scripts[("it", name)] = replace(made, output=output.encode())
    world.flows.resumed["it"] = 0
    steps = tuple(_step(name, ()) for name in names)
    plan = WorkflowPlan(WorkflowKind.BATCH, "it", "sim", "", None, steps)
    assert world.coordinator.ask(lambda p: begin(p.core, flows.AROUND, plan))
    flows.assign(world)
    settled(world)
    world.flow_truth.at_the_end()
    (one,) = flows.workflows(world)
    with world.coordinator.seen() as tx:
        runs, rows = tx.find(Run, {"workflow": one.id}), steps_of(tx, one.id)
        balance = tx.get(Balance, workflow_scope(one.id))
        entries = [entry for entry in tx.find(BookEntry) if entry.scope.startswith("day:")]
    states = Counter(step.state.value for step in rows)
    assert states == {"done": TASKS - len(fails), "failed": len(fails)}
    assert Counter(run.outcome for run in runs)[Outcome.DONE] == TASKS - len(fails)
    assert {step.name for step in rows if step.state == "failed"} == fails
    assert (one.state, one.reason[:10]) == ("partial", f"{TASKS - len(fails)} of {TASKS}"[:10])
    assert balance is not None and balance.spent_usd == sum(costs.values())
    assert balance.spent_usd == sum(e.usd for e in entries if e.kind.value in ("spend", "correct"))
    assert balance.held_usd == balance.unknown_runs == 0 and balance.tokens == 15 * TASKS
    assert {run.result["node"] for run in runs} == {machine.name for machine in world.machines}
