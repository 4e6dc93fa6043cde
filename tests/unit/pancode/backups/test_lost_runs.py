"""What the restored ledger lacks is named, once for each node."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pancode.backups.lost_runs import MOST, MOST_READ, name_lost_runs
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.kernel.records import Audit, Node, Setting
from pancode.runs.core import RESTORED
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.backups.memory import MemoryCopies
from tests.unit.pancode.runs.world import Desk

JOURNAL = ["r-0001.1.1", "r-zzzz.1.1", "r-zzzz.2.1", "node-state.json", "r-../x", "r-1;rm.1.1"]


class Restored:
    def __init__(self, restored: bool = True) -> None:
        self.desk = Desk()
        self.desk.dispatch("r-0001")
        self.places = {"box": MemoryCopies(), "far": MemoryCopies()}
        self.linked = {"box", "far"}
        with unit_of_work(self.desk.core) as work:
            for name in self.places:
                reach = reach_to(Target(name, "10.0.0.5", 22, "u"), installed_home="/n")
                work.tx.put(Node(name, 1, reach.data(), {}, 4))
            work.tx.put(Node("desk", 1, reach_to(Target("desk", "h", 0, ""), local=True).data(), {}, 4))
            if restored:
                work.tx.put(Setting(RESTORED, {"copy": "c", "taken_ms": 1, "asked": []}, 1, "t"))

    def turn(self) -> list[tuple[str | None, object]]:
        core, linked = self.desk.core, self.linked.__contains__
        name_lost_runs(core, lambda node, stopping: self.places[node], linked, threading.Event())
        rows = self.desk.rows(Audit)
        return [(row.run, row.detail["node"]) for row in rows if row.what.startswith("lost:")]


def test_a_run_of_the_journal_that_the_ledger_lacks_is_named_once() -> None:
    world = Restored()
    world.places["box"].journal = list(JOURNAL)
    assert world.turn() == [("r-zzzz", "box")]
    assert world.turn() == [("r-zzzz", "box")]
    assert world.places["box"].calls == ["journal"]


def test_a_node_that_is_away_is_asked_later() -> None:
    world = Restored()
    world.places["far"].fails_at = "journal"
    world.places["far"].journal = ["r-yyyy.1.1"]
    assert world.turn() == []
    world.places["far"].fails_at = ""
    assert world.turn() == [("r-yyyy", "far")]


def test_a_node_without_a_link_is_not_dialled() -> None:
    world = Restored()
    world.linked.remove("far")
    world.places["far"].journal = ["r-yyyy.1.1"]
    assert world.turn() == [] and world.places["far"].calls == []
    world.linked.add("far")
    assert world.turn() == [("r-yyyy", "far")]


def test_a_long_journal_names_a_limited_number_of_runs() -> None:
    world = Restored()
    world.places["box"].journal = [f"r-z{number:05d}.1.1" for number in range(MOST_READ + 1)]
    assert len(world.turn()) == MOST


def test_a_ledger_that_was_never_restored_asks_nobody() -> None:
    world = Restored(restored=False)
    world.places["box"].journal = list(JOURNAL)
    assert world.turn() == [] and world.places["box"].calls == []


@pytest.mark.parametrize("value", [None, 3, {}, {"asked": ["box", "far"]}])
def test_a_value_of_another_kind_does_no_harm(value: object, tmp_path: Path) -> None:
    world = Restored(restored=False)
    with unit_of_work(world.desk.core) as work:
        work.tx.put(Setting(RESTORED, value, 1, "t"))
    assert world.turn() == []
