"""`land --resolve`: a run whose task is the conflict; when it has landed, the first one has, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.adapters.git.depot import Depot
from pancode.control.landing import asked
from pancode.control.landing.lander import Lander
from pancode.control.landing.resolving import resolve
from pancode.domain.landing.values import ConflictState, LandWay
from pancode.domain.records import Run
from pancode.domain.values import replace
from pancode.errors import UsageError
from pancode.wiring.repositories import DepotRepositories
from tests.unit.pancode.api.test_inbox import keep
from tests.unit.pancode.api.world import World
from tests.unit.pancode.control.landing.test_asked import COMMIT, GIT
from tests.unit.pancode.control.landing.test_asked import Lander as ToldLander
from tests.unit.pancode.control.world import facts

MARKED, OURS = "d" * 40, "e" * 40


class Conflicting(Lander):
    """Its merges are told by a test."""

    def __init__(self, world: World, folder: Path, *files: str) -> None:
        super().__init__(world.context.plane.core, DepotRepositories(Depot(folder)))
        self.files = files

    def conflict(self, run: Run, branch: str) -> ConflictState:
        return ConflictState(MARKED, OURS, None, self.files)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def old(world: World, tmp_path: Path) -> Run:
    """Done by a model, in a repository."""
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    claude = (RuntimeFact(name="claude", state="ok"),)
    world.node.facts = facts(isolation=Isolation.SANDBOX, runtimes=claude)
    world.node.breathe()
    run = str(world.dispatch(runtime="claude", task="rename it\n`rm -rf`")["run"])
    order = world.claim()
    world.context.depot.commits.add(COMMIT)
    keep(world, replace(world.context.row(Run, run), workspace=GIT, project=str(project)))
    world.node.start(order)
    world.node.deliver(order, commit=COMMIT, change="change", files_changed=("a.txt",))
    world.context.turn()
    found: Run = world.context.row(Run, run)
    return found


def _resolve(world: World, old: Run, folder: Path, *files: str, **way: Any) -> Run:
    around = world.coordinator.around({})
    lander = Conflicting(world, folder, *files)
    return resolve(world.context.plane.core, lander, around, old, LandWay("ana", **way)).run


def test_its_run_begins_at_both_and_lands_for_both(world: World, old: Run, tmp_path: Path) -> None:
    new = _resolve(world, old, tmp_path, "a.txt", "b c.txt", branch="agent/x")
    assert new.task.startswith("Settle a merge conflict") and "- b c.txt" in new.task and old.task in new.task
    assert (new.workspace["snapshot"], new.workspace["base"], new.land) == (MARKED, None, True)
    assert (new.terms["origin"], new.terms["begins"], "continues" in new.terms) == (OURS, old.id, False)
    world.context.turn()
    order = world.claim()
    world.node.start(order)
    world.node.deliver(order, commit=COMMIT, change="change", files_changed=("a.txt",))
    world.context.turn()
    core, ways = world.context.plane.core, list[LandWay]()
    (action,) = asked.waiting(core)

    def land(run: Run, way: LandWay, wanted: Callable[[], bool]) -> dict[str, Any]:
        ways.append(way)
        return ToldLander()(run, way, wanted)

    asked.carry_out(core, action, land, lambda: False)
    (way,) = ways
    assert (way.by, way.branch, way.message) == ("ana", "agent/x", "rename it")
    for run in (new.id, old.id):
        row = world.context.row(Run, run)
        assert row.landed == COMMIT and row.landing["status"] == "landed"


def test_where_nothing_conflicts_nothing_is_dispatched(world: World, old: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not conflict") as refused:
        _resolve(world, old, tmp_path)
    assert refused.value.fix == f"pancode land {old.id}"
    assert len(world.context.rows(Run)) == 1
