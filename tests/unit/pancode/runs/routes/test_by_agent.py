"""An agent's name stands for its only run at work; with several, or with none, the answer lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two runs of `mason` at work, one of `scribe`, which has another that ended, and one of `idle`."""
    made = World(tmp_path / "home")
    first = made.context.row(Run, str(made.dispatch()["run"]))
    ended: dict[str, Any] = {"state": RunState.ENDED, "outcome": Outcome.ERROR}
    runs = [
        replace(first, id="r-aa2222", agent="mason", task="lay\nthe bricks"),
        replace(first, id="r-aa2223", agent="mason", state=RunState.RUNNING),
        replace(first, id="r-bb2222", agent="scribe", **ended),
        replace(first, id="r-bb2223", agent="scribe", runtime="claude"),
        replace(first, id="r-dd2222", agent="scribe", terms={"judges": "r-bb2223"}),
        replace(first, id="r-cc2222", agent="idle", **ended),
    ]
    with made.context.ledger.transaction() as tx:
        for number, run in enumerate(runs):
            tx.put(replace(run, created_ms=first.created_ms + number + 1))
    return made


def test_each_act_takes_the_only_run_of_an_agent(world: World) -> None:
    assert world.http.get("/v1/runs/scribe/brief").json()["run"] == "r-bb2223"
    told = world.http.post("/v1/runs/scribe/tell", {"by": "ada", "text": "in ink"})
    assert told.json()["run"] == "r-bb2223", told.text
    stopped = world.http.post("/v1/runs/scribe/stop", {"by": "ada", "reason": ""}).json()
    assert stopped["run"] == "r-bb2223" and "stopped by ada" in stopped["reason"]


@pytest.mark.parametrize("name", ["last", "running", "aa2222", "r-aa2222", ""])
def test_what_is_named_as_an_agent_is_no_run_of_that_name(world: World, name: str) -> None:
    told = world.problem("POST", f"/v1/runs/agent:{name}/stop", {"by": "ada"})
    assert told["code"] == "agent_not_found"
    stopped = world.http.post("/v1/runs/agent:scribe/stop", {"by": "ada"}).json()
    assert stopped["run"] == "r-bb2223"


def test_of_several_one_must_be_named(world: World) -> None:
    refused = world.http.post("/v1/runs/mason/stop", {"by": "ada", "reason": ""})
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (400, "run_ambiguous")
    assert problem["why"].startswith("r-aa2223 (running: ")
    assert "r-aa2222" in problem["why"]
    assert "pancode runs --agent mason" in problem["fix"]


def test_an_agent_without_a_run_at_work_shows_those_that_ended(world: World) -> None:
    answer = world.http.get("/v1/runs/idle/brief")
    assert answer.status_code == 404 and "r-cc2222 (error: " in answer.json()["why"]
    unknown = world.http.get("/v1/runs/nobody/brief").json()
    assert unknown["code"] == "run_not_found" and "nobody" in unknown["message"]
