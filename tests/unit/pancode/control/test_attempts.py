"""How often a run is tried, and what all its attempts together may spend."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.event import Refused
from node_agent.wire.failure import FailureKind, OrderRefusal, Outcome
from node_agent.wire.order import Order
from node_agent.wire.receipt import Usage
from pancode.control.dispatch import past
from pancode.control.query import run as query
from pancode.domain.books import Ceilings
from pancode.domain.records import Attempt, Balance, Decision, Fence, Run
from tests.unit.pancode.control.world import Desk, Puppet, failed

LIMITS = {"wall_ms": 60_000, "idle_ms": 60_000, "output_bytes": 1_000_000, "usd": "1.00"}
VANISHED = failed(FailureKind.PROCESS_VANISHED, Outcome.INFRA)
BUSY = {**failed(FailureKind.MODEL_BUSY, Outcome.INFRA)}


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def started(coordinator: Desk, **changes: Any) -> tuple[Puppet, Order]:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(**changes)
    coordinator.turn()
    return node, begun(node)


def begun(node: Puppet) -> Order:
    order = node.claim()
    assert order is not None
    node.start(order)
    return order


def later(coordinator: Desk, node: Puppet) -> None:
    for _ in range(4):
        node.breathe()


def spent(usd: str | None) -> dict[str, Usage]:
    cost = None if usd is None else Decimal(usd)
    return {"usage": Usage(cost_usd=cost, cost_source="unknown" if usd is None else "reported")}


def stories(coordinator: Desk) -> list[str]:
    return [f"{d.verdict}: {d.detail}" for d in coordinator.rows(Decision, run="r-0001")]


@pytest.mark.parametrize(("most", "follows"), [(None, True), (1, False), (2, True)])
def test_one_attempt_asked_for_is_one_whatever_went_wrong(
    coordinator: Desk, most: int | None, follows: bool
) -> None:
    node, order = started(coordinator, max_attempts=most)
    node.deliver(order, **VANISHED)
    later(coordinator, node)
    again = node.claim()
    assert (again is not None) == follows
    if again is None:
        assert coordinator.row(Run, "r-0001").failure is FailureKind.PROCESS_VANISHED
    else:
        assert again.identity.attempt == 2


@pytest.mark.parametrize(("most", "follows"), [(None, True), (1, False)])
def test_one_attempt_asked_for_is_one_when_the_node_is_lost(
    coordinator: Desk, most: int | None, follows: bool
) -> None:
    started(coordinator, max_attempts=most, read_only=True, told_only=True)
    for _ in range(100):
        coordinator.turn(10_000)
    run = coordinator.row(Run, "r-0001")
    assert (run.outcome, run.attempt) == ((None, 2) if follows else (Outcome.LOST, 1))


def test_the_second_attempt_has_what_the_first_has_left(coordinator: Desk) -> None:
    node, order = started(coordinator, limits=LIMITS)
    assert order.limits.usd == Decimal("1.00")
    node.deliver(order, **BUSY, **spent("0.70"))
    later(coordinator, node)
    again = begun(node)
    assert again.limits.usd == Decimal("0.30")
    assert coordinator.row(Attempt, "r-0001", 2).held_usd == Decimal("0.30"), "less than the estimate is left"
    node.deliver(again, **spent("0.30"))
    coordinator.turn()
    assert coordinator.row(Run, "r-0001").outcome is Outcome.DONE
    coordinator.check_books()


def test_an_unknown_cost_counts_as_what_was_held_for_it(coordinator: Desk) -> None:
    node, order = started(coordinator, limits=LIMITS)
    node.deliver(order, **BUSY, **spent(None))
    later(coordinator, node)
    assert begun(node).limits.usd == Decimal("0.25")


@pytest.mark.parametrize("usd", ["1.00", "1.40"])
def test_no_attempt_follows_when_nothing_is_left(coordinator: Desk, usd: str) -> None:
    node, order = started(coordinator, limits=LIMITS, max_attempts=3)
    node.deliver(order, **BUSY, **spent(usd))
    later(coordinator, node)
    assert node.claim() is None
    ended = coordinator.row(Run, "r-0001")
    assert (ended.outcome, ended.failure) == (Outcome.INFRA, FailureKind.MODEL_BUSY)
    assert "not tried again: nothing is left of the run's budget" in stories(coordinator)
    coordinator.check_books()


def test_a_late_receipt_uses_up_what_the_next_attempt_was_to_have(coordinator: Desk) -> None:
    node, order = started(coordinator, limits=LIMITS, read_only=True, told_only=True)
    for _ in range(100):
        coordinator.turn(10_000)
    assert coordinator.row(Run, "r-0001").attempt == 2
    node.deliver(order, **BUSY, **spent("1.00"))
    later(coordinator, node)
    assert node.claim() is None
    ended = coordinator.row(Run, "r-0001")
    assert (ended.outcome, ended.attempt) == (Outcome.BUDGET_EXCEEDED, 2)
    coordinator.check_books()


def test_the_next_attempt_waits_for_the_budget_and_goes_on_when_there_is_some(coordinator: Desk) -> None:
    coordinator.plane.money.set_ceilings("day", Ceilings(Decimal("1.00")), "test")
    node, order = started(coordinator, usd="0.75")
    node.deliver(order, **VANISHED, **spent("0.75"))
    later(coordinator, node)
    assert node.claim() is None
    words = (
        "Budget ceiling would be exceeded (spent: $0.75, held: $0.00, estimated next: $0.75, ceiling: $1.00)"
    )
    assert words in coordinator.row(Run, "r-0001").reason
    coordinator.plane.money.set_ceilings("day", Ceilings(Decimal("2.00")), "test")
    later(coordinator, node)
    assert begun(node).identity.attempt == 2
    (day,) = [b for b in coordinator.rows(Balance) if b.scope.startswith("day:")]
    assert (day.spent_usd, day.held_usd) == (Decimal("0.75"), Decimal("0.75"))


def test_what_never_started_cost_nothing(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    order = node.claim()
    assert order is not None
    node.say(order.identity, Refused(why=OrderRefusal.FENCE_CONFLICT, detail="x"))
    coordinator.turn()
    assert coordinator.row(Run, "r-0001").outcome is Outcome.INFRA
    assert query.brief(coordinator.plane.core, "r-0001")["usage"]["cost_usd"] == "0"
    coordinator.dispatch("r-0002", node="elsewhere")
    coordinator.plane.runs.stop("r-0002", "by test")
    usage = query.brief(coordinator.plane.core, "r-0002")["usage"]
    assert (usage["cost_usd"], usage["cost_source"]) == ("0", "not started")


def test_a_lost_order_that_never_started_cost_nothing_in_the_end(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    order = node.claim()
    assert order is not None
    for _ in range(100):
        coordinator.turn(10_000)
    assert query.brief(coordinator.plane.core, "r-0001")["usage"]["cost_usd"] is None
    node.say(order.identity, Refused(why=OrderRefusal.TOO_LATE, detail="x"))
    coordinator.turn()
    assert query.brief(coordinator.plane.core, "r-0001")["usage"]["cost_usd"] == "0"
    assert coordinator.row(Fence, "r-0001", order.identity.fence).receipt is None
    coordinator.check_books()


def test_what_cost_nothing_says_nothing_of_what_work_costs(coordinator: Desk) -> None:
    node, order = started(coordinator, max_attempts=1)
    node.deliver(order, **BUSY, **spent("0"))
    later(coordinator, node)
    assert dict(past(coordinator.plane.core)[0]) == {}, "else the next run would be held for at nothing"
    coordinator.dispatch("r-0002")
    coordinator.turn()
    node.deliver(begun(node), **spent("0.30"))
    later(coordinator, node)
    worker = (coordinator.row(Run, "r-0002").agent, coordinator.row(Run, "r-0002").model)
    assert dict(past(coordinator.plane.core)[0]) == {worker: Decimal("0.3")}
