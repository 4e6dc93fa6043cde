"""Which runs `land --all-green` lands, and the landings before one's own."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.receipt import GateResult
from pancode.kernel.records import EndedRun, Run
from pancode.kernel.states import How
from pancode.kernel.values import replace
from pancode.landing import queue
from pancode.reports.needs import list_needs
from pancode.runs.request import LandWay
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from tests.unit.pancode.landing.test_asked import COMMIT, GIT, Lander, LandingWorld
from tests.unit.pancode.runs.world import failed

GATE = {"name": "true", "argv": ["true"]}
PASSED = GateResult(name="true", argv=("true",), passed=True, exit_code=0, signal=None, duration_ms=1)


def _ended(world: LandingWorld, project: str = "/p", gates: tuple[Any, ...] = (GATE,), **told: Any) -> str:
    number = len(world.coordinator.rows(Run)) + 1
    world.coordinator.dispatch(f"r-{number:04}", project=project, workspace=GIT, gates=gates)
    world.coordinator.turn()
    job = world.node.take()
    world.job = job
    world.end(**{"gates": (PASSED,) if gates else (), **told})
    return job.identity.run


def _green(world: LandingWorld) -> list[str]:
    return [row["run"] for row in queue.list_landable(world.coordinator.core, "/p")]


def test_green_is_done_verified_changed_and_not_landed() -> None:
    world = LandingWorld(land=False)
    world.end()  # without gates: not verified
    good = _ended(world)
    _ended(world, project="/other")
    _ended(world, gates=())
    _ended(world, commit=None, files_changed=(), change="no_change")
    _ended(world, **failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED))
    also = _ended(world)
    assert _green(world) == [good, also]
    core = world.coordinator.core
    queue.queue_landing(core, good, LandWay("ana"))
    assert _green(world) == [also], "it waits in the queue already"
    world.land(Lander())
    assert _green(world) == [also] and world.coordinator.row(Run, good).landed == COMMIT


@pytest.mark.parametrize(
    "changes",
    [
        {"result": {"continued_by": ["r-0009"]}},
        {"landing": {"status": "denied"}},
        {"terms": {"judges": "r-0009"}},
    ],
)
def test_what_was_gone_on_from_denied_or_only_judges_is_left_out(changes: dict[str, Any]) -> None:
    world = LandingWorld(land=False)
    run = _ended(world)
    with world.coordinator.ledger.transaction() as tx:
        row = tx.get(Run, run)
        assert row is not None
        merged: dict[str, Any] = {name: {**getattr(row, name), **value} for name, value in changes.items()}
        tx.put(replace(row, **merged))
    assert _green(world) == []


def test_those_before_ones_own_are_of_the_same_repository() -> None:
    world = LandingWorld(land=False)
    world.end()
    runs = [_ended(world), _ended(world, project="/other"), _ended(world)]
    core = world.coordinator.core
    for run in runs[:2]:
        queue.queue_landing(core, run, LandWay("ana", branch="agent/x", how=How.MERGE))
    last = world.coordinator.row(Run, runs[2])
    (row,) = queue.list_before(core, last, ())
    assert (row["run"], row["branch"], row["how"]) == (runs[0], "agent/x", "merge")
    assert queue.list_before(core, world.coordinator.row(Run, runs[0]), ()) == []


def test_of_a_workflow_the_last_change_is_offered_though_a_later_step_has_looked_at_it() -> None:
    world = LandingWorld(land=False)
    first, second = _ended(world), _ended(world)
    look = _ended(world, commit=None, files_changed=(), change="no_change")
    core, done = world.coordinator.core, WorkflowStepState.DONE
    with world.coordinator.ledger.transaction() as tx:
        tx.put(Workflow("w-1", 0, "ana", WorkflowKind.CHAIN, "code-review", "", None))
        needs: tuple[str, ...] = ()
        for number, run in enumerate((first, second, look)):
            tx.put(WorkflowStep("w-1", number, run, needs, {}, state=done, run=run))
            row, needs = tx.get(Run, run), (run,)
            assert row is not None
            tx.put(replace(row, workflow="w-1", step=run))
    assert _green(world) == [second] == [one.id for one in list_needs(core) if one.run]
    elsewhere = _ended(world, project="/other")
    assert {one.id for one in list_needs(core) if one.run} == {second, elsewhere}, "of every repository"


def test_what_was_retried_is_not_to_review_as_the_brief_says() -> None:
    world = LandingWorld(land=False)
    first, second = _ended(world), _ended(world)
    with world.coordinator.ledger.transaction() as tx:
        row = tx.get(EndedRun, second)
        assert row is not None
        tx.put(replace(row, retry_of=first))
    core = world.coordinator.core
    assert [one.id for one in list_needs(core) if one.run] == [second]
