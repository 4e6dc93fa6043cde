"""A rehearsal over the coordinator: what its model asks for is judged, and nothing is carried out."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.receipt import TurnStop, Usage
from pancode.agents.agents import FLEET_TOOLS
from pancode.kernel.records import Run, RunNote, SessionRow, Workflow
from pancode.runs.retry import request_of
from tests.unit.pancode.app.test_fleet_tools import Panos, runs
from tests.unit.pancode.interfaces.http.test_tcp import DoorWorld
from tests.unit.pancode.sessions import test_sessions
from tests.unit.pancode.sessions.test_sessions import MODEL, record, say, turned

at_work = test_sessions.world
__all__ = ["at_work"]
THEY = {"runtime": "native", "model": MODEL}


@pytest.fixture
def world(at_work: DoorWorld, tmp_path: Path) -> DoorWorld:
    at_work.api.facts["home"] = str(tmp_path / "home")
    return at_work


def rehearses(world: DoorWorld, name: str, **more: Any) -> Panos:
    return Panos(world, rehearses=name, **more)


def rests(panos: Panos, stop: TurnStop = TurnStop.END_TURN, usd: str = "0.02") -> dict[str, Any]:
    """How its request is judged then."""
    turn, world = record(1, 0, stop=stop), panos.world
    turned(world, panos.order, turn)
    usage = Usage(cost_usd=Decimal(usd), cost_source="metered")
    world.node.deliver(panos.order, turns=(turn,), usage=usage, answer="DECIDED: it is begun")
    world.context.turn()
    return next(row for row in rows(world) if row["run"] == panos.session)


def rows(world: DoorWorld) -> list[dict[str, Any]]:
    (found,) = world.http.get(f"/v1/models/decompositions?model={MODEL}").json()["models"]
    return list(found["requests"])


def test_what_it_begins_is_told_as_begun_and_nothing_is(world: DoorWorld) -> None:
    panos = rehearses(world, "side-by-side", budget="0.50")
    run = world.context.row(Run, panos.session)
    assert run.agent == "panos" and run.task.startswith("Review the authentication module")
    assert run.terms["turns"]["idle_ms"] == 1 and run.terms["fleet"] == list(FLEET_TOOLS[run.mode])
    assert world.context.row(SessionRow, run.id).ceiling == Decimal("0.50")
    assert Decimal(str(run.limits["usd"])) == Decimal("0.50")
    answer = panos.answer("dispatch", task="review auth", agent="reviewer", **THEY)
    made = json.loads(answer.text)["run"]
    assert answer.ok and "rehearsal" in answer.text
    assert panos.answer("dispatch", task="Build rate limiting for the search endpoint", **THEY).ok
    waited = panos.answer("wait", run=made)
    assert waited.ok and json.loads(waited.text)["outcome"] == "done"
    assert "has made nothing" in panos.answer("diff", run="last").text
    for tool, given in (("land", {}), ("tell", {"text": "more"}), ("stop", {}), ("continue_run", {})):
        assert panos.answer(tool, run=made, **given).ok, tool
    assert panos.answer("propose_change", kind="budget", value="25").ok
    assert "read the files" in panos.answer("explore", questions=["where is it?"]).text
    assert len(runs(world)) == 1 and not world.context.rows(Workflow)
    assert not world.http.get("/v1/inbox").json()["items"]
    assert panos.answer("fleet_status").ok and panos.answer("run_show", run=panos.session).ok, "they are real"
    row = rests(panos)
    assert (row["state"], row["asked"], row["spent_usd"]) == ("passed", "builder + reviewer", "0.02")
    assert not world.context.rows(RunNote), "the next one would be told of work that never was"


def test_another_shape_has_failed_and_a_turn_that_was_cut_is_unknown(world: DoorWorld) -> None:
    panos = rehearses(world, "chain")
    assert panos.answer("dispatch", task="plan, build and review it", agent="builder", **THEY).ok
    row = rests(panos)
    assert (row["state"], row["asked"]) == ("failed", "builder"), row
    panos = rehearses(world, "chain")
    steps = [
        {"task": "a", "agent": "planner"},
        {"task": "b", "agent": "builder"},
        {"task": "Review it"},
    ]
    assert panos.answer("dispatch_chain", steps=steps, **THEY).ok
    assert rests(panos)["state"] == "passed", "the newest one counts"
    panos = rehearses(world, "question")
    row = rests(panos, TurnStop.LIMIT)
    assert row["state"] == "unknown" and row["why"]
    counts = [row["state"] for row in rows(world)]
    assert (counts.count("passed"), counts.count("not asked")) == (1, 10)
    summary = world.http.get("/v1/models/decompositions").json()["models"]
    assert [(one["model"], one["passed"], one["of"]) for one in summary] == [(MODEL, 1, 12)]


def test_a_call_that_is_carried_out_again_after_a_kill_counts_once(world: DoorWorld) -> None:
    panos = rehearses(world, "one-change")
    assert panos.answer("dispatch", task="write docstrings", agent="builder", **THEY).ok
    panos.asks("dispatch", number=panos.number, task="write docstrings", agent="builder", **THEY)
    panos.carry_out()
    assert rests(panos)["asked"] == "builder"


def test_an_agent_that_there_is_not_is_refused_as_in_earnest(world: DoorWorld) -> None:
    panos = rehearses(world, "one-change")
    for agent in ("bilder", "panos"):
        assert not panos.answer("dispatch", task="write docstrings", agent=agent, **THEY).ok
    assert rests(panos)["asked"] == "nothing"


def test_words_that_go_on_with_it_do_not_end_the_rehearsal(world: DoorWorld) -> None:
    panos = rehearses(world, "thanks")
    assert rests(panos)["state"] == "passed"
    again = world.context.row(Run, say(world, panos.session, "now build it")["run"])
    assert again.id != panos.session and again.terms["rehearses"] == "thanks"
    assert request_of(again, "ana").rehearses == "thanks", "nor does a retry"


def test_a_dry_run_judges_it_and_keeps_nothing(world: DoorWorld) -> None:
    asked = {**THEY, "rehearses": "chain", "by": "ana", "dry_run": True}
    answer = world.http.post("/v1/sessions", asked).json()
    assert answer["dry_run"] and answer["admitted"], answer
    assert not runs(world) and all(row["state"] == "not asked" for row in rows(world))


def test_a_process_of_its_run_begins_nothing_either(world: DoorWorld) -> None:
    panos = rehearses(world, "thanks")
    world.coordinator.inside = (panos.order.identity,)
    explored = {"questions": ["where?"], "by": "x"}
    for path, body in (("/v1/runs", {"task": "x", **THEY}), ("/v1/explore", explored)):
        assert world.problem("POST", path, body)["code"] == "inside_run", path
    assert len(runs(world)) == 1


@pytest.mark.parametrize(
    ("more", "code"), [({"rehearses": "chains"}, "request_not_found"), ({"model": None}, "no_model")]
)
def test_a_rehearsal_is_of_a_request_of_the_table_and_of_one_model(
    world: DoorWorld, more: dict[str, Any], code: str
) -> None:
    asked = {**THEY, "rehearses": "chain", "by": "ana", **more}
    assert world.problem("POST", "/v1/sessions", asked)["code"] == code and not runs(world)
