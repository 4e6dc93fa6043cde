"""A landing that waits for an approval: the yes is to exactly what was shown, and a no calls it off once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pancode.fleet.part import CoordinatorPart
from pancode.kernel.records import Run
from pancode.runs.life.inbox import list_yes_flags
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.people.routes.test_inbox import held, items, world

__all__ = ["world"]


def test_an_approval_says_yes_to_exactly_what_was_shown(world: World) -> None:
    run = held(world)
    (item,) = items(world)
    assert item["yes"] == ["--with-commands"] and item["command"] == f"pancode approve --with-commands {run}"
    told = world.problem("POST", f"/v1/runs/{run}/approve", {"by": "ana"})
    assert told["code"] == "changed"
    both = {"with_commands": True, "with_secret": True}
    assert world.problem("POST", f"/v1/runs/{run}/approve", both)["code"] == "changed"
    assert list_yes_flags(world.context.row(Run, run)) == ("--with-commands",) and len(items(world)) == 1
    done = world.http.post(f"/v1/runs/{run}/approve", {"with_commands": True}).json()
    assert done["status"] == "landed"


def test_a_landing_is_approved_once(world: World) -> None:
    run = held(world)
    told = world.problem("POST", f"/v1/runs/{run}/approve", {"with_commands": True, "scope": "run"})
    assert told["code"] == "bad_value" and len(items(world)) == 1


class Counting(CoordinatorPart):
    """Counts the landings that are called off."""

    def __init__(self) -> None:
        self.off: list[str] = []

    def call_off(self, run: Run) -> Sequence[Mapping[str, object]]:
        self.off.append(run.id)
        return ()


def test_a_no_to_what_does_not_wait_calls_no_landing_off(world: World) -> None:
    run, code = held(world), Counting()
    world.coordinator.by_kind[Counting] = code
    world.http.post(f"/v1/runs/{run}/deny", {"by": "bob"}).json()
    assert code.off == [run]
    assert world.problem("POST", f"/v1/runs/{run}/deny", {})["code"] == "nothing_asked"
    assert code.off == [run]
