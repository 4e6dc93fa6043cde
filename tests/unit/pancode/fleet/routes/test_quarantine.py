"""`fleet resume` ends a quarantine, but only of a machine that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pancode.fleet import inventory
from pancode.kernel.records import Audit, Node
from tests.unit.pancode.interfaces.http.world import World


def test_a_quarantine_ends_for_who_is_named(tmp_path: Path) -> None:
    world = World(tmp_path)
    inventory.change(world.context.core, "n1", lambda node: replace(node, quarantined="it kept 90 MiB"))
    world.context.turn()
    assert world.http.get("/v1/nodes/n1").json()["state"] == "quarantined"
    everybody = world.http.post("/v1/fleet/resume", {"by": "me"}).json()
    assert everybody["let_in"] == [] and world.context.row(Node, "n1").quarantined == "it kept 90 MiB"
    named = world.http.post("/v1/fleet/resume", {"by": "me", "nodes": ["n1"]}).json()
    assert named["let_in"] == ["n1"] and world.context.row(Node, "n1").quarantined is None
    assert world.coordinator.fleet.told[-1] == ("let_in", ("n1",))
    (entry,) = [a for a in world.context.rows(Audit) if a.what == "node quarantine ended"]
    assert entry.detail == {"node": "n1", "by": "me", "why": "it kept 90 MiB"}
