"""How far a snapshot is can be seen while it is taken, and nothing of it afterwards."""

from __future__ import annotations

import pytest

from pancode.kernel.errors import WorkspaceError
from pancode.kernel.ports import SnapshotRequest, SnapshotTaken
from pancode.runs import dispatch
from tests.unit.pancode.kernel.fleets import node, resolved
from tests.unit.pancode.runs.world import Desk, HonestDepot


class Slow(HonestDepot):
    """Looks at what is told from within."""

    def __init__(self, coordinator: Desk, fails: bool = False) -> None:
        super().__init__()
        self.coordinator, self.fails = coordinator, fails
        self.seen: list[list[dispatch.UnderWay]] = []

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        self.seen.append(dispatch.under_way(self.coordinator.core))
        wanted.progress(40_000, 100_000)
        self.seen.append(dispatch.under_way(self.coordinator.core))
        if self.fails:
            raise WorkspaceError("no", fix="x")
        return super().snapshot(wanted)


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_told_while_it_lasts(fails: bool) -> None:
    coordinator = Desk()
    coordinator.depot = depot = Slow(coordinator, fails)
    coordinator.restart()
    core, asked = coordinator.core, resolved(node("desk"), project="/home/ana/p", workspace="git")
    if fails:
        with pytest.raises(WorkspaceError):
            dispatch.add_snapshot(core, asked, "r-0001")
    else:
        assert dispatch.add_snapshot(core, asked, "r-0001").snapshot is not None
    told = {"run": "r-0001", "project": "/home/ana/p"}
    assert depot.seen == [[{**told, "done": 0, "of": 0}], [{**told, "done": 40_000, "of": 100_000}]]
    assert dispatch.under_way(core) == []


def test_without_a_project_there_is_none() -> None:
    plan = resolved(node("desk"), workspace="none")
    assert dispatch.add_snapshot(Desk().core, plan, "r-0001") is plan
