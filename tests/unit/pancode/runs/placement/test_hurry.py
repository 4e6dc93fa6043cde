"""Machines that decide by themselves open no more slots while the day's budget runs out; fixed ones do."""

from __future__ import annotations

from decimal import Decimal

import pytest

from node_agent.wire.receipt import Usage
from pancode.budget.books import day_scope
from pancode.fleet import inventory
from pancode.fleet.fleet import list_nodes
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.runs.live import HURRY, BudgetSpeed
from pancode.runs.placement.binding import bind_runs
from tests.unit.pancode.runs.world import Desk, Puppet


@pytest.mark.parametrize(("least", "placed"), [(1, 1), (2, 2), (None, 3)])
def test_a_hurry_holds_machines_at_the_fewest(least: int | None, placed: int) -> None:
    desk = Desk()
    node = Puppet(desk, slots=4)
    inventory.change(desk.core, node.name, lambda known: replace(known, slots=4, least=least))
    node.breathe()
    core = desk.core
    moment = core.ports.clock.boot_ms(), Decimal(0)
    core.live.binding.speed = BudgetSpeed(day_scope(core.wall_ms(), core.tz), (moment,), HURRY)
    for number in range(3):
        desk.dispatch(f"r-000{number}", "0.10")
    bind_runs(core)
    runs = desk.rows(Run)
    assert sum(run.node is not None or run.lease > 0 for run in runs) == placed
    waiting = [run for run in runs if not run.lease]
    assert all(f"it opens no more than {least} now, {HURRY}" in run.reason for run in waiting)
    (told,) = (one for one in list_nodes(core) if one["name"] == node.name)
    assert (told["slots"]["now"], told["slots"]["why"]) == ((placed, HURRY) if least else (4, ""))


def test_the_speed_is_that_of_what_was_settled_today() -> None:
    desk = Desk(ceiling="2")
    node = Puppet(desk)
    seen = []
    for number in range(5):
        desk.turn(50_000)
        node.breathe()
        desk.dispatch(f"r-000{number}", "0.30")
        node.breathe()
        seen.append(desk.core.live.binding.speed)
        job = node.take()
        node.deliver(job, usage=Usage(cost_usd=Decimal("0.30"), cost_source="metered"))
        desk.turn(0)
    assert [one.seen[-1][1] for one in seen] == [Decimal("0.30") * number for number in range(5)]
    assert not seen[0].why and seen[-1].why == HURRY
