"""A coordinator that does not lead its fleet answers what reads, refuses what acts, and says why."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from pancode.app.http_routes import VERBS
from pancode.fleet.standing import FencedError, Held, HeldError
from pancode.interfaces.http.routing import ApiCall
from pancode.kernel.errors import PancodeError
from pancode.kernel.records import Run
from pancode.runs.restored.mode import FleetMode
from tests.unit.pancode.interfaces.http.world import World, app_of, events_of

HELD = Held(FleetMode.HELD, "its ledger is old", "pancode fleet up")
FENCED = Held(FleetMode.FENCED, "another leads it", "pancode fleet up --take")
ALLOWED = {
    *("POST /v1/fleet/up", "POST /v1/fleet/down", "POST /v1/shutdown", "POST /v1/web/codes"),
    *("POST /v1/web/session", "POST /v1/web/session/end", "POST /v1/brief/looked"),
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(("held", "error"), [(HELD, HeldError), (FENCED, FencedError)])
def test_each_act_is_refused_before_it_begins(world: World, held: Held, error: type[PancodeError]) -> None:
    """Except those that let it lead, end it, or open the console."""
    world.coordinator.held = held
    context = app_of(world.coordinator)[1]
    acts = [verb for verb in VERBS if verb.method != "GET" and verb.name not in ALLOWED]
    for verb in acts:
        with pytest.raises(error) as caught:
            verb.answered(context, ApiCall({}, {}, None))
        assert (caught.value.why, caught.value.fix) == (held.why, held.fix), verb.name
    assert len(acts) > 80 and {verb.name for verb in VERBS} >= ALLOWED


def test_what_reads_is_answered_with_a_note_and_acts_on_nothing(world: World) -> None:
    world.dispatch()
    world.coordinator.held = HELD
    answer = world.http.get("/v1/runs")
    assert len(answer.json()["runs"]) == 1
    assert unquote(answer.headers["pancode-note"]).endswith(
        "its ledger is old; to continue: pancode fleet up"
    )
    told = world.http.get("/v1/fleet").json()["coordinator"]["held"]
    assert told == {"mode": "held", "why": "its ledger is old", "fix": "pancode fleet up"}
    assert world.problem("POST", "/v1/runs", world.shell())["code"] == "fleet_held"


def test_who_waits_for_what_cannot_come_is_told_so(world: World) -> None:
    run = world.dispatch()["run"]
    world.coordinator.held = FENCED
    for path in (f"/v1/runs/{run}/events", f"/v1/runs/{run}/log?follow=1"):
        kind, told = events_of(world.http.get(path))[-1]
        assert (kind, told["code"], told["fix"]) == ("problem", "fenced", FENCED.fix), path


@pytest.mark.parametrize(("held", "word"), [(HELD, "held"), (FENCED, "fenced")])
def test_it_leads_once_a_user_has_confirmed_this_mode(world: World, held: Held, word: str) -> None:
    world.coordinator.held = held
    other = "fenced" if word == "held" else "held"
    for take_up in ([], [other]):
        told = world.problem("POST", "/v1/fleet/up", {"by": "ana", "take_up": take_up})
        assert told["fix"] == held.fix and told["why"] == f"{held.why}; n1 cannot be asked now"
    assert world.coordinator.story == [] and world.coordinator.fleet.told == []
    assert events_of(world.http.post("/v1/fleet/up", {"by": "ana", "take_up": [word]}))[-1][0] == "result"
    assert world.coordinator.story == ["ana lets it lead"]
    assert world.http.get("/v1/fleet").json()["coordinator"]["held"] is None
    world.dispatch()


def test_it_is_taken_down_without_its_nodes(world: World) -> None:
    world.coordinator.held = HELD
    assert events_of(world.http.post("/v1/fleet/down", {}))[-1] == ("result", {"results": []})
    assert world.problem("POST", "/v1/fleet/down", {"nodes": ["n1"]})["code"] == "fleet_held"
    assert world.coordinator.fleet.told == []


@pytest.mark.parametrize("held", [HELD, None])
def test_a_change_is_acted_on_at_once_only_by_one_that_leads(world: World, held: Held | None) -> None:
    world.coordinator.held = held
    world.context.dispatch("r-0001")
    app_of(world.coordinator)[1].poke()
    assert world.context.row(Run, "r-0001").lease == (1 if held is None else 0)
