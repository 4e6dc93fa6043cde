"""A login that is opened on a machine: who, where and how it ended is on record, and nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.node import NodeProblem
from pancode.kernel.records import Audit
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def logins(world: World) -> list[tuple[str, dict]]:
    return [(a.what, dict(a.detail)) for a in world.context.rows(Audit) if a.what.startswith("login ")]


def test_a_login_is_on_record_when_it_is_opened_and_when_it_ends(world: World) -> None:
    asked = {"runtime": "shell", "by": "ana"}
    assert world.http.post("/v1/nodes/n1/login", asked).json()["node"] == "n1"
    told = {"node": "n1", "runtime": "shell", "by": "ana"}
    assert logins(world) == [("login opened", told)]
    assert world.http.post("/v1/nodes/n1/login", {**asked, "outcome": "exit 4"}).status_code == 200
    assert logins(world)[1:] == [("login ended", {**told, "outcome": "exit 4"})]


def test_one_that_cannot_be_opened_is_none(world: World) -> None:
    assert world.problem("POST", "/v1/nodes/n1/login", {"runtime": "cluade"})["exit_code"] == 4
    assert world.problem("POST", "/v1/nodes/nope/login", {"runtime": "claude"})["exit_code"] == 4
    assert logins(world) == []


def test_the_wall_of_each_machine_is_told_with_its_runtimes(world: World) -> None:
    (wall,) = world.http.get("/v1/runtimes").json()["isolations"]
    assert (wall["node"], wall["isolation"]) == ("n1", "none") and wall["holds"].startswith("nothing")
    lines = world.http.post("/v1/fleet/doctor", {}).json()["checks"]
    told = [line["what"] for line in lines if line["node"] == "n1"]
    assert told[0] == f"isolation none: holds {wall['holds']}"


def test_what_a_machine_reports_is_in_doctor(world: World) -> None:
    broken = NodeProblem(what="/home/ana/secrets.json is broken: line 3", fix="repair secrets.json there")
    world.node.facts = facts(problems=(broken, NodeProblem(what="a note")))
    world.node.breathe()
    lines = world.http.post("/v1/fleet/doctor", {}).json()["checks"]
    told = {line["what"]: (line["ok"], line.get("says")) for line in lines}
    assert told[broken.what] == (False, "n1 says: repair secrets.json there") and told["a note"][0]
