"""A coordinator that is killed at each moment of a workflow's advance; a batch that adds up exactly."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from functools import partial
from random import Random  # noqa: TID251 - seeded, which is the point

import pytest

from node_agent.wire.failure import Outcome
from pancode.budget.books import workflow_scope
from pancode.fleet import inventory
from pancode.kernel.records import Balance, BookEntry, Run
from pancode.runs.retry import dispatch_again
from pancode.workflows.model import WorkflowPlan
from pancode.workflows.records import WorkflowKind
from pancode.workflows.service import begin_workflow
from pancode.workflows.store import steps_of
from tests.fakes.ledger import MemoryTransaction
from tests.simulation import flows
from tests.simulation.flow_shapes import PROJECT, SHAPES, Shape
from tests.simulation.planted_flows import counts_first
from tests.simulation.schedule import Schedule
from tests.simulation.world import SimWorld

MOMENTS = 45
TASKS = 200


KILLED = [
    ("rounds", {"build": 2, "review": 2, "ship": 1}, "done"),
    ("clash", {"a": 1, "b": 1, "c": 1, "d": 0}, "failed"),
]


def calm() -> Schedule:
    """A fleet to which nothing happens but what a test does to it."""
    made = Schedule(1, "flows")
    made.kind = replace(made.kind, durations=(500,))
    made.begin()
    return made


def begun(world: Schedule, shape: str, name: str = "it", enough: int = 2) -> None:
    wanted = flows.Wanted(SHAPES[shape], enough)
    plan = _plan(wanted.shape, name)
    world.flows.ask_for(name, wanted)
    for step in wanted.shape.steps:
        world.flows.scripts[(name, step)] = flows.script_of(world, name, step, False)
    world.coordinator.ask(lambda core: begin_workflow(core, flows.AROUND, plan))
    flows.assign(world)


def _plan(shape: Shape, name: str) -> WorkflowPlan:
    steps = tuple(flows.step_plan(shape, step) for step in shape.steps)
    return WorkflowPlan(shape.kind, name, "sim", "", PROJECT if shape.git else None, steps)


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
@pytest.mark.parametrize(("shape", "runs", "state"), KILLED)
def test_killed_at_each_write_of_its_advance_each_round_is_counted_once(
    shape: str, runs: dict[str, int], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds, and a conflict of what is merged: the same runs and the same end as if nothing had been."""
    moments = writes_of_the_advance(shape, monkeypatch)
    assert len(moments) > 10
    for moment in moments:
        assert killed(shape, moment) == (state, runs), moment


@pytest.mark.parametrize(("shape", "step"), [("chain", "b"), ("merge", "d")])
def test_a_retry_takes_its_step_whenever_the_coordinator_dies(shape: str, step: str) -> None:
    """It begins with what was merged for it; after a kill it has its place, or nothing has happened."""
    for moment in range(9):
        world = calm()
        begun(world, shape)
        good = world.flows.scripts[("it", step)]
        world.flows.scripts[("it", step)] = replace(good, exit_code=1)
        flows.assign(world)
        settled(world)
        (one,) = flows.workflows(world)
        assert one.state == "failed" and step in one.reason
        world.flows.scripts[("it", step)] = good
        while flows.workflows(world)[0].state == "failed":
            _retried(world, one.id, step, moment)
            moment = 0
        settled(world)
        assert flows.workflows(world)[0].state == "done", flows.workflows(world)[0].reason
        world.flow_truth.at_the_end()


def _retried(world: Schedule, workflow: str, step: str, moment: int) -> None:
    """Somebody asks for it, and the coordinator dies at that moment; 0: it does not."""
    with world.coordinator.seen() as tx:
        old = next(run for run in tx.find(Run, {"workflow": workflow}) if run.step == step)
    world.flows.resumed["it"] += 1
    if moment:
        world.coordinator.crash_in(moment)
    world.coordinator.ask(lambda core: dispatch_again(core, flows.AROUND, old, "sim"))
    world.step(1_000)
    flows.assign(world)


def test_a_round_that_is_counted_twice_after_a_kill_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    counts_first(monkeypatch)
    moments = writes_of_the_advance("rounds", monkeypatch)
    with pytest.raises(AssertionError, match="is in round|round 3 after 1|begun two rounds"):
        for moment in moments:
            killed("rounds", moment)


def writes_of_the_advance(shape: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The moments before and after each commit that writes, while the workflow is advanced."""
    world, found = calm(), list[int]()
    begun(world, shape)
    wire, follow, end = world.coordinator.wire, flows.follow, MemoryTransaction.end
    first, inside = wire.count, list[bool]()

    def followed(one: SimWorld) -> None:
        inside.append(True)
        follow(one)
        inside.clear()

    def ended(transaction: MemoryTransaction) -> None:
        if inside and transaction.has_changed:
            found.extend((wire.count - first, wire.count - first + 1))
        end(transaction)

    with monkeypatch.context() as patch:
        patch.setattr(flows, "follow", followed)
        patch.setattr(MemoryTransaction, "end", ended)
        settled(world)
    return found


def killed(shape: str, moment: int) -> tuple[str, dict[str, int]]:
    """The coordinator dies then; how the workflow ends, and how many runs each step has had."""
    world = calm()
    begun(world, shape)
    world.coordinator.crash_in(moment)
    settled(world)
    assert world.coordinator.wire.at is None, f"it was not killed at {moment}"
    world.flow_truth.at_the_end()
    (one,) = flows.workflows(world)
    with world.coordinator.seen() as tx:
        return one.state.value, {step.name: len(step.runs) for step in steps_of(tx, one.id)}


@pytest.mark.slow
def test_200_tasks_on_two_nodes_with_failures_add_up_exactly() -> None:
    random, world = Random(5), calm()
    for machine in world.machines:
        eight = partial(inventory.change, name=machine.name, edit=lambda n: replace(n, slots=8))
        world.coordinator.ask(eight)
        machine.slots = machine.most_slots = 8
    names = [f"t{number}" for number in range(TASKS)]
    costs = {name: Decimal(random.randrange(1, 100)) / 100 for name in names}
    fails = {name for name in names if random.random() < 0.3}
    shape = Shape(WorkflowKind.BATCH, dict.fromkeys(names, ()))
    world.flows.ask_for("it", flows.Wanted(shape))
    for name in names:
        made = flows.script_of(world, "it", name, name in fails)
        output = f'{{"answer": "it has {name}", "in": 10, "out": 5, "usd": "{costs[name]}"}}\n'
        world.flows.scripts[("it", name)] = replace(made, output=output.encode())
    plan = _plan(shape, "it")
    assert world.coordinator.ask(lambda core: begin_workflow(core, flows.AROUND, plan))
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
    assert balance.reserved_usd == balance.unknown_runs == 0 and balance.tokens == 15 * TASKS
    assert {run.result["node"] for run in runs} == {machine.name for machine in world.machines}
