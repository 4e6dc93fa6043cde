"""An agent program is old where a machine of the same fleet has a newer one, and nobody chose it so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from node_agent.wire.node import RuntimeFact
from pancode.fleet.commands.fleet import _format_fleet
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import Puppet, facts


def program(version: str | None, brought: str = "", name: str = "claude") -> RuntimeFact:
    return RuntimeFact.model_validate({"name": name, "version": version, "state": "ok", "brought": brought})


def fleet(tmp_path: Path, mine: RuntimeFact, *theirs: RuntimeFact) -> Any:
    world = World(tmp_path)
    for name, told in (("n1", (mine,)), ("gpubox", theirs)):
        node = world.node if name == "n1" else Puppet(world.context, name)
        node.facts = facts(runtimes=told)
        node.breathe()
    return world.http.get("/v1/fleet").json()


def old(tmp_path: Path, mine: RuntimeFact, *theirs: RuntimeFact) -> str:
    nodes = {one["name"]: one for one in fleet(tmp_path, mine, *theirs)["nodes"]}
    assert all(not one["old"] for one in nodes["gpubox"]["runtimes"]), "the newest is never old"
    return str(nodes["n1"]["runtimes"][0]["old"])


def test_the_newest_of_the_fleet_is_the_measure_and_the_command_fits_how_it_came(tmp_path: Path) -> None:
    newer = program("2.10.0")
    brought = old(tmp_path, program("2.9.1", "newest"), newer)
    assert brought == "gpubox has 2.10.0: pancode node install n1 claude"
    other = old(tmp_path, program("2.9.1"), newer)
    assert other == "gpubox has 2.10.0: pancode node install n1 claude (or update it as it was installed)"


def test_a_chosen_version_and_one_that_cannot_be_read_are_not_called_old(tmp_path: Path) -> None:
    newer = program("2.10.0")
    assert old(tmp_path, program("2.9.1", "chosen"), newer) == ""
    assert old(tmp_path, program(None), newer) == "" == old(tmp_path, program("2.9.1-beta"), newer)
    assert old(tmp_path, program("2.9.1"), program("3.0-rc"), program("9", name="codex")) == ""
    assert old(tmp_path, program("1", name="native"), program("2", name="native")) == ""


def test_the_table_marks_it_and_says_what_brings_the_newer_one(tmp_path: Path) -> None:
    said = _format_fleet(fleet(tmp_path, program("2.9.1", "newest"), program("2.10.0")))
    assert "claude 2.9.1 OLD" in said and said.count("OLD") == 1
    assert "claude 2.9.1 is old, gpubox has 2.10.0: pancode node install n1 claude" in said
