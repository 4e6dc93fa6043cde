"""What begins later in the name of a token, after its revocation and expiry (docs/howto/api.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from pancode.fleet.standing import Held
from pancode.kernel.records import Action, ActionKind, Run, RunState
from pancode.kernel.values import replace
from pancode.landing.queue import carry_out
from pancode.runs.restored.mode import FleetMode
from pancode.schedules.records import Schedule
from pancode.workflows.records import WorkflowStep
from tests.unit.pancode.interfaces.http.test_confined import TwoMachines, flow_of
from tests.unit.pancode.interfaces.http.test_tcp import code_of

DAY = 86_400_000


@pytest.fixture
def world(tmp_path: Path) -> TwoMachines:
    return TwoMachines(tmp_path)


def end_all(world: TwoMachines) -> None:
    """End all runs that have been begun."""
    for node in (world.node, world.other):
        for _ in range(3):
            node.breathe()
        while (job := node.claim()) is not None:
            node.carry_out(job)


def schedule(world: TwoMachines, secret: str) -> None:
    said = {"name": "later", "cron": "* * * * *", "dispatch": world.shell()}
    assert world.ask("POST", "/v1/schedules", secret, said).status_code == 201


def workflow(world: TwoMachines, secret: str) -> None:
    flow = flow_of(world.shell())
    flow["steps"].append({"name": "b", "needs": ["a"], "dispatch": world.shell()})
    assert world.ask("POST", "/v1/workflows", secret, flow).status_code == 201


def lane_item(world: TwoMachines, secret: str) -> None:
    assert world.http.post("/v1/lanes", {"name": "later"}).status_code == 201
    assert world.ask("POST", "/v1/lanes/later/add", secret, world.shell()).status_code == 200


def landing(world: TwoMachines, secret: str) -> None:
    _let_wait(world, world.ask("POST", "/v1/runs", secret, world.shell()).json()["run"])


def landing_of_a_schedule(world: TwoMachines, secret: str) -> None:
    schedule(world, secret)
    before = {one.id for one in world.context.rows(Run)}
    world.pass_time()
    (run,) = {one.id for one in world.context.rows(Run)} - before
    _let_wait(world, run)


def _let_wait(world: TwoMachines, run: str) -> None:
    row = replace(world.context.row(Run, run), state=RunState.ENDED, outcome=Outcome.DONE)
    with world.context.ledger.transaction() as tx:
        tx.put(row)
        tx.put(Action("later", ActionKind.LAND, run, world.context.clock.wall_ms(), row.created_by, {}))


def begun(world: TwoMachines, kind: str) -> bool:
    """Do what the threads do, and return whether work was begun in the name of the token."""
    if kind.startswith("landing"):
        landed: list[str] = []

        def land(run: Run, way: Any, wish: Any) -> dict[str, Any]:
            landed.append(run.id)
            return {"status": "nothing", "why": ""}

        (action,) = [one for one in world.context.rows(Action) if one.kind is ActionKind.LAND]
        carry_out(world.context.core, action, land, lambda: False)
        return bool(landed)
    before = len(world.context.rows(Run))
    end_all(world)
    world.pass_time()
    return len(world.context.rows(Run)) > before


TABLE = {
    # what: (after the revocation, after the expiry)
    "schedule": (False, False),
    "workflow": (False, True),
    "lane item": (False, True),
    "landing": (False, True),
    "landing of a schedule's run": (False, True),
}
MAKE = {
    **{"schedule": schedule, "workflow": workflow, "lane item": lane_item, "landing": landing},
    "landing of a schedule's run": landing_of_a_schedule,
}


@pytest.mark.parametrize("name", ["valid", "revoked", "made again", "expired"])
@pytest.mark.parametrize("kind", TABLE)
def test_what_begins_later_begins_only_as_the_table_says(world: TwoMachines, kind: str, name: str) -> None:
    secret = world.token("dispatch", "operate", name="ci", lasts_ms=DAY)
    MAKE[kind](world, secret)
    if name in ("revoked", "made again"):
        world.http.post("/v1/tokens/ci/revoke", {"by": "ana"})
    world.context.clock.ms += DAY + 1 if name == "expired" else 1
    if name == "made again":
        world.token("dispatch", "operate", name="ci")
    after_revocation, after_expiry = TABLE[kind]
    expected = {"valid": True, "expired": after_expiry}.get(name, after_revocation)
    assert begun(world, kind) is expected
    if kind == "schedule" and name == "revoked":
        assert world.context.row(Schedule, "later").paused
    if kind in ("workflow", "lane item") and not expected:
        reasons = [one.reason for one in world.context.rows(WorkflowStep)]
        assert any("the token ci that requested step" in why for why in reasons), reasons


def test_a_held_coordinator_knows_no_token_of_its_ledger(world: TwoMachines) -> None:
    """It may have been revoked since; a code of the owner still opens the console."""
    old = world.token("admin")
    taken_ms = world.context.clock.wall_ms()
    world.context.clock.ms += 1
    new = world.token("admin", name="since")
    world.coordinator.held = Held(FleetMode.HELD, "old", "pancode fleet up", restored={"taken_ms": taken_ms})
    assert code_of(world.ask("GET", "/v1/tokens", old), 409) == "token_over"
    assert world.ask("GET", "/v1/tokens", new).status_code == 200


def test_to_follow_a_pull_request_needs_the_right_to_dispatch(world: TwoMachines) -> None:
    weak, strong = world.token("operate"), world.token("operate", "dispatch")
    run = world.dispatch()["run"]
    bodies: dict[str, dict[str, Any]] = {
        "/v1/pulls/p-1": {},
        f"/v1/runs/{run}/pull-request": {"remote": "origin", "branch": "agent/x"},
    }
    for path, body in bodies.items():
        told = world.ask("POST", path, weak, {**body, "follow": True})
        assert code_of(told, 403) == "wrong_scope" and "dispatch" in told.json()["why"], path
        assert world.ask("POST", path, strong, {**body, "follow": True}).status_code != 403, path
        assert world.ask("POST", path, weak, {**body, "follow": False}).status_code != 403, path
