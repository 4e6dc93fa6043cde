"""`node set` through the API: slots and labels that change after a machine was added."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.control import SetSlots
from node_agent.wire.node import Ask
from pancode.config.fleet_settings import pause_queue
from pancode.kernel.records import Audit, Node, Run
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_labels_are_set_replaced_and_taken_away_and_the_rest_stays(world: World) -> None:
    world.http.post("/v1/nodes/n1/set", {"labels": {"gpu": "8g", "disk": "ssd"}})
    answer = world.http.post("/v1/nodes/n1/set", {"labels": {"gpu": "24g"}, "unlabel": ["disk"]}).json()
    assert answer["labels"] == {"os": "linux", "gpu": "24g"} and answer["slots"]["total"] == 2
    assert world.context.row(Node, "n1").labels == answer["labels"]
    assert [a.what for a in world.context.rows(Audit)].count("node set") == 2


def test_the_node_is_told_its_slots_and_gets_no_more_than_that(world: World) -> None:
    assert world.http.post("/v1/nodes/n1/set", {"slots": 1}).json()["slots"]["total"] == 1
    first, second = world.dispatch()["run"], world.dispatch()["run"]
    world.node.breathe()
    told = [control.body for control in world.node.controls() if isinstance(control.body, SetSlots)]
    assert told[-1] == SetSlots(slots=1)
    assert world.claim().identity.run == first and world.node.claim() is None
    assert world.context.row(Run, second).lease == 0


def test_between_bounds_the_node_says_how_many_it_takes_and_who_waits_hears_why(world: World) -> None:
    answer = world.http.post("/v1/nodes/n1/set", {"slots": 8, "least": 1}).json()
    assert answer["slots"]["total"] == 8
    world.node.breathe()
    told = [control.body for control in world.node.controls() if isinstance(control.body, SetSlots)]
    assert told[-1] == SetSlots(slots=8, least=1)
    words = "load 9.0 on 4 cores"
    world.node.heartbeat(ask=Ask(seq=world.node.seq, slots=0, why=words, open=()))
    world.context.turn()
    run = world.dispatch()["run"]
    world.context.turn()
    shown = world.http.get("/v1/nodes/n1").json()["slots"]
    assert (shown["now"], shown["total"], shown["why"]) == (0, 8, words)
    assert f"it takes 0 of 8 now, {words}" in world.context.row(Run, run).reason
    assert world.http.post("/v1/nodes/n1/set", {"labels": {"gpu": "8g"}}).status_code == 200
    assert world.context.row(Node, "n1").least == 1, "labels change no bounds"
    assert world.http.post("/v1/nodes/n1/set", {"slots": 2}).status_code == 200
    assert world.context.row(Node, "n1").least is None


def test_a_waiting_run_goes_to_a_machine_that_gets_its_label(world: World) -> None:
    world.http.post("/v1/nodes/n1/set", {"labels": {"gpu": "24g"}})
    pause_queue(world.context.core, None, "for a while", "test")
    run = world.dispatch(require={"gpu": "24g"})["run"]
    world.http.post("/v1/nodes/n1/set", {"unlabel": ["gpu"]})
    pause_queue(world.context.core, None, None, "test")
    world.node.breathe()
    assert world.node.claim() is None and "gpu" in world.context.row(Run, run).reason
    world.http.post("/v1/nodes/n1/set", {"labels": {"gpu": "24g"}})
    world.node.breathe()
    assert world.claim().identity.run == run


def test_a_label_that_is_taken_away_leaves_what_is_bound(world: World) -> None:
    run = world.dispatch(require={"os": "linux"})["run"]
    world.node.breathe()
    world.http.post("/v1/nodes/n1/set", {"unlabel": ["os"]})
    world.node.breathe()
    assert world.claim().identity.run == run


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 2, "no change was given"),
        ({"slots": 0}, 2, "slots"),
        ({"slots": 257}, 2, "slots"),
        ({"unlabel": ["oss"]}, 4, "oss"),
        ({"labels": {"os": "mac"}, "unlabel": ["os"]}, 2, "label os cannot be both set and removed"),
        ({"label": {"os": "mac"}}, 2, "unknown key"),
    ],
)
def test_what_is_asked_wrongly_changes_nothing(
    world: World, body: dict[str, object], status: int, words: str
) -> None:
    before = world.context.row(Node, "n1")
    told = world.problem("POST", "/v1/nodes/n1/set", body)
    assert told["exit_code"] == status and words in told["message"]
    assert world.context.row(Node, "n1") == before


def test_a_machine_that_is_not_there(world: World) -> None:
    told = world.problem("POST", "/v1/nodes/n11/set", {"slots": 1})
    assert told["exit_code"] == 4 and "n1?" in told["why"]
