"""A runtime of an older version: what is stored is shown, an older node is heard, and no new work gets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.node import RuntimeFact
from pancode.agents.agents import find_agent, find_flaws
from pancode.agents.runtimes import RUNTIMES, known_runtime, no_runtime
from pancode.conversation.lines import LogStory
from pancode.conversation.stream import reading_of
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts

GONE, INSTEAD = "qwen", "acp:qwen"
HEADLESS = b'{"type":"system","subtype":"init","session_id":"s","model":"m"}\n'
INTERACTIVE_RUN = b'{"type": "said", "text": "Hello."}\n'


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def stored(world: World, state: RunState = RunState.ENDED, **more: Any) -> str:
    """A run of that runtime in the ledger, with one attempt."""
    first: Run = world.context.row(Run, str(world.dispatch()["run"]))
    outcome = Outcome.ERROR if state is RunState.ENDED else None
    kept = {"state": state, "outcome": outcome, "runtime": GONE, "model": "m", "argv": (), **more}
    with world.context.ledger.transaction() as tx:
        tx.put(replace(first, **kept))
    return first.id


def test_a_stored_run_is_shown(world: World) -> None:
    run = stored(world, session="s-1")
    for path in ("/why", "/brief", "/events", "/prompt", "/streams"):
        assert world.http.get(f"/v1/runs/{run}{path}").status_code == 200, path
    shown = world.http.get(f"/v1/runs/{run}").json()
    assert (shown["runtime"], shown["outcome"]) == (GONE, "error")
    assert [one["run"] for one in world.http.get("/v1/runs").json()["runs"]] == [run]
    waits = stored(world, RunState.PENDING)
    world.node.breathe()
    assert world.http.get(f"/v1/runs/{waits}").json()["state"] == "pending"
    for _ in range(3):
        world.context.turn()
    assert world.http.get(f"/v1/runs/{waits}").json()["runtime"] == GONE


@pytest.mark.parametrize(("verb", "body"), [("retry", {}), ("continue", {"text": "go on"})])
def test_a_stored_run_does_not_begin_anew(world: World, verb: str, body: dict[str, str]) -> None:
    run = stored(world)
    told = world.problem("POST", f"/v1/runs/{run}/{verb}", {"by": "ana", **body})
    assert told["code"] == "runtime_not_found" and INSTEAD in told["fix"], told


def test_its_log_is_shown_as_it_was_written(world: World) -> None:
    assert reading_of(GONE, HEADLESS) is None and reading_of(GONE, INTERACTIVE_RUN) is not None
    for data, words in ((HEADLESS, HEADLESS.decode()), (INTERACTIVE_RUN, "Hello.")):
        shown: list[str] = []
        told = LogStory(GONE, shown.append)
        told.write("1.1", data)
        told.end()
        assert words in "".join(shown)


def test_an_older_node_is_heard(world: World) -> None:
    world.node.facts = facts(
        runtimes=(RuntimeFact(name=GONE, state="ok"), RuntimeFact(name="shell", state="ok"))
    )
    world.node.breathe()
    named = {one["name"]: one for one in world.http.get("/v1/runtimes").json()["runtimes"]}
    assert [fact["node"] for fact in named[GONE]["nodes"]] == ["n1"]
    (there,) = world.http.get("/v1/fleet").json()["nodes"]
    assert GONE in {one["name"] for one in there["runtimes"]} and there["state"] == "online"
    told = world.problem(
        "POST", "/v1/runs", {"task": "x", "runtime": GONE, "model": "m", "workspace": "none"}
    )
    assert told["code"] == "runtime_not_found" and INSTEAD in told["fix"], told


def test_whoever_names_it_is_told_what_to_use(world: World) -> None:
    assert GONE not in RUNTIMES and GONE not in list(RUNTIMES) and INSTEAD in RUNTIMES
    assert INSTEAD in no_runtime(GONE).fix
    agent = replace(find_agent(world.coordinator.around({}).agents(None), "builder"), runtime=GONE)
    assert [(one.field, one.fix) for one in find_flaws(agent)] == [("runtime", no_runtime(GONE).fix)]
    assert INSTEAD in world.problem("GET", f"/v1/runtimes?name={GONE}")["fix"]
    with pytest.raises(ValueError, match="acp:qwen"):
        known_runtime(GONE)
