"""Which runs somebody asked for: by machine, agent, outcome, time and text, decided by the API."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.config.fleet_settings import pause_queue
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import format_result
from pancode.runs.lists import moment_ms
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three runs: one done, an hour later one that failed, and one that waits."""
    world = World(tmp_path)
    world.dispatch(task="echo Export")
    world.node.deliver(world.claim())
    world.context.clock.ms += 3_600_000
    world.node.breathe()
    world.dispatch(task="echo import", priority=1)
    world.node.deliver(world.claim(), outcome=Outcome.ERROR, failure=FailureKind.AGENT_FAILED)
    world.context.turn()
    pause_queue(world.context.core, None, "for a while", "test")
    world.dispatch(task="echo later", require={"os": "linux"})
    return world


def listed(world: World, **query: str) -> list[str]:
    answer = world.http.get("/v1/runs", **query)
    assert answer.status_code == 200, answer.text
    return [run["task"].split()[1] for run in answer.json()["runs"]]


@pytest.mark.parametrize(
    ("query", "tasks"),
    [
        ({}, ["later", "import", "Export"]),
        ({"limit": "1"}, ["later"]),
        ({"outcome": "done"}, ["Export"]),
        ({"outcome": "pending"}, ["later"]),
        ({"outcome": "waiting"}, ["later"]),
        ({"outcome": "to land"}, []),
        ({"outcome": "landed"}, []),
        ({"outcome": "running"}, []),
        ({"agent": "builder"}, ["later", "import", "Export"]),
        ({"agent": "scout"}, []),
        ({"node": "n1"}, ["import", "Export"]),
        ({"text": "eXPORT"}, ["Export"]),
        ({"since": "30m"}, ["later", "import"]),
        ({"since": "1d", "text": "echo", "limit": "2"}, ["later", "import"]),
        ({"since": "1d", "outcome": "error", "text": "Export"}, []),
    ],
)
def test_all_that_fits_newest_first(world: World, query: dict[str, str], tasks: list[str]) -> None:
    assert listed(world, **query) == tasks


def test_what_the_list_shows_can_be_asked_for(world: World) -> None:
    for run in world.http.get("/v1/runs").json()["runs"]:
        for word in (run["status"], run["status"].replace("_", " "), format_result(run)):
            found = world.http.get("/v1/runs", outcome=word).json()["runs"]
            assert run["run"] in [one["run"] for one in found], word


def test_what_cannot_be_asked_for(world: World) -> None:
    told = world.problem("GET", "/v1/runs?outcome=eror")
    assert told["exit_code"] == 4 and "error?" in told["why"]
    assert world.problem("GET", "/v1/runs?since=yesterday")["exit_code"] == 2
    assert "node?" in world.problem("GET", "/v1/runs?nod=n1")["fix"]


def test_times() -> None:
    now = 10**12
    assert moment_ms("90m", now) == now - 5_400_000
    assert moment_ms("2026-11-22T08:30:00Z", now) == 1_795_336_200_000
    assert moment_ms("2026-11-22", now) == datetime(2026, 11, 22).astimezone().timestamp() * 1000
    for wrong in ("", "1y", "-3d", "2026-13-01"):
        with pytest.raises(UsageError):
            moment_ms(wrong, now)
