"""`runs stop` without an id: the run that was started last of those that run, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.kernel.records import Audit
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def begun(world: World) -> str:
    """The oldest waiting run is started."""
    job = world.claim()
    world.node.start(job)
    world.context.turn()
    return job.identity.run


def stopped(world: World) -> str:
    told = world.http.post("/v1/runs/running/stop", {"by": "ana"}).json()
    assert "not confirmed" in told["reason"]
    return str(told["run"])


def test_not_the_newest_but_the_one_that_runs(world: World) -> None:
    first = world.dispatch()["run"]
    assert begun(world) == first
    world.dispatch()
    world.dispatch(node="n1", priority=-1)
    assert stopped(world) == first


def test_of_two_that_run_the_one_that_was_started_last(world: World) -> None:
    late = world.dispatch(priority=-5)["run"]
    early = world.dispatch(priority=5)["run"]
    job = world.claim()
    other = world.claim()
    by_run = {job.identity.run: job, other.identity.run: other}
    for run in (early, late):
        world.context.clock.ms += 1_000
        world.node.start(by_run[run])
        world.context.turn()
    assert stopped(world) == late
    assert stopped(world) == early, "one that was asked to end already is not meant"


def test_when_none_runs_it_is_said_what_waits(world: World) -> None:
    world.http.post("/v1/queues/pause", {"by": "ana", "reason": "lunch"})
    run = world.dispatch()["run"]
    world.context.turn()
    told = world.problem("POST", "/v1/runs/running/stop", {"by": "ana"})
    assert (told["exit_code"], told["code"]) == (4, "run_not_found")
    assert "lunch" in told["why"]
    assert told["fix"].endswith("pancode runs stop RUN")
    assert world.http.get(f"/v1/runs/{run}/brief").json()["state"] == "pending"


@pytest.mark.parametrize("name", ["n1", "pool.any", None])
def test_who_paused_what_and_why_is_on_record(world: World, name: str | None) -> None:
    world.http.post("/v1/queues/pause", {"queue": name, "by": "ana", "reason": "keys"})
    world.http.post("/v1/queues/resume", {"queue": name, "by": "ben"})
    paused, resumed = world.context.rows(Audit)[-2:]
    assert (paused.detail["by"], resumed.detail["by"]) == ("ana", "ben")
    assert "keys" in paused.detail.values() and None in resumed.detail.values()
    assert paused.at_ms
