"""Files of old runs on which a workspace stands."""

from __future__ import annotations

from pancode.kernel.values import replace
from pancode.runs.retention.rules import FilesNeed
from pancode.workspaces.records import KeptWorkspace
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.routes.test_retention import collected, ended, world

__all__ = ["world"]


def test_logs_that_take_too_much_room_go_from_the_oldest_on(world: World) -> None:
    for number, days in enumerate((3, 9, 6), start=2):
        ended(world, f"r-aaaaa{number}", days=days, landed="landed")
    ended(world, "r-aaaaa5", days=12, terms={"in_workspace": "min-1"})
    kept = KeptWorkspace("min-1", "/p", "feature/min-1", None, 0, "ana", "r-aaaaa5")
    with world.context.ledger.transaction() as tx:
        tx.put(kept)
    core = world.context.core
    core.rules = replace(core.rules, keep=replace(core.rules.keep, logs_bytes=25))
    asked = collected(world)
    assert world.coordinator.kept_files.logs == {"r-aaaaa2", "r-aaaaa5"}, "a workspace stands on the oldest"
    assert (asked["logs"], asked["changes"], asked["young"]) == (2, 0, 1)


def test_what_a_workspace_stands_on_stays_until_that_is_removed(world: World) -> None:
    ended(world, "r-aaaaa2", landed="landed", terms={"in_workspace": "min-1"})
    kept = KeptWorkspace("min-1", "/p", "feature/min-1", None, 0, "ana", "r-aaaaa2")
    with world.context.ledger.transaction() as tx:
        tx.put(kept)
    assert collected(world)["kept"] == [{"runs": 1, "why": FilesNeed.WORKSPACE.value}]
    with world.context.ledger.transaction() as tx:
        tx.delete(KeptWorkspace, "min-1")
    assert collected(world)["changes"] == 1
