"""A change that nobody has decided about keeps its files, and is not landed by what was meant for a plan."""

from __future__ import annotations

import pytest

from pancode.kernel.records import Action, ActionKind
from pancode.kernel.values import replace
from pancode.runs.retention.rules import FilesNeed
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.people.routes.test_inbox import blocked, held, items
from tests.unit.pancode.runs.routes.test_retention import collected, ended, needs_of, world

__all__ = ["world"]


@pytest.mark.parametrize("days", [40, 4_000])
def test_a_change_that_nobody_has_decided_about_stays(world: World, days: int) -> None:
    ended(world, "r-aaaaa2", days=days)
    assert collected(world)["kept"] == [{"runs": 1, "why": FilesNeed.DECISION.value}]
    assert world.coordinator.kept_files.named == {"r-aaaaa2"}


def test_a_landing_that_was_asked_for_keeps_its_files(world: World) -> None:
    run = ended(world, "r-aaaaa2", landed="landed")
    lands = Action("a-1", ActionKind.LAND, run.id, world.context.clock.wall_ms(), "ana")
    assert needs_of(world, replace(run, landed=None), lands) == FilesNeed.LANDING


@pytest.mark.parametrize("waits", ["landing", "permission"])
def test_a_yes_to_a_plan_is_none_to_what_the_run_asks_by_then(world: World, waits: str) -> None:
    run = held(world) if waits == "landing" else blocked(world, question="")
    (before,) = items(world)
    late = {"by": "ben", "plan": "0123456789ab", "with_commands": waits == "landing"}
    told = world.problem("POST", f"/v1/runs/{run}/approve", late)
    assert before["kind"] == waits and waits in told["why"]
    assert told["code"] == "changed" and "pancode inbox" in told["fix"]
    assert items(world) == [before], "it still waits"
