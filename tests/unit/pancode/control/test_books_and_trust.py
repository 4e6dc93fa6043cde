"""What a node may not claim, what a ceiling of its own means, and that a machine has one name."""

from __future__ import annotations

from decimal import Decimal

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.receipt import Receipt, Subject, Usage
from node_agent.wire.signing import parse_message
from pancode.domain.books import Ceilings
from pancode.domain.records import Audit, Balance, Node, Run, StoredReceipt
from pancode.errors import ConflictError
from tests.unit.pancode.control.world import Desk, Puppet, offered


@pytest.fixture
def desk() -> Desk:
    return Desk()


def day(desk: Desk) -> Balance:
    return next(b for b in desk.rows(Balance) if b.scope.startswith("day:"))


def test_a_receipt_about_another_commit_is_not_believed(desk: Desk) -> None:
    node, order = offered(desk)
    receipt = parse_message(Receipt, node.receipt(order).body())
    foreign = Subject(name="refs/heads/main", digest={"gitCommit": "f" * 40})
    lying = receipt.model_copy(update={"subject": (foreign,)})
    node.uplink.send(lying.signed(node.key).model_dump_json())
    desk.turn()
    assert desk.row(Run, "r-0001").outcome is Outcome.INFRA and not desk.rows(StoredReceipt)
    assert any("subjects" in str(a.detail) for a in desk.rows(Audit) if a.what == "message refused")


def test_a_nodes_own_ceiling_holds_at_the_binding(desk: Desk) -> None:
    node = Puppet(desk)
    node.breathe()
    desk.plane.set_ceilings("node:n1", Ceilings(Decimal("0.50")), "test")
    desk.dispatch()
    desk.turn()
    assert node.claim() is None
    assert "node:n1: Dispatch blocked: Budget ceiling" in desk.row(Run, "r-0001").reason
    desk.plane.set_ceilings("node:n1", Ceilings(Decimal("1.00")), "test")
    node.breathe()
    assert node.claim() is not None
    desk.check_books()


def test_a_machine_has_one_name(desk: Desk) -> None:
    node = Puppet(desk)
    desk.plane.add_node(Node("twin", 0, {}, {}, 4))
    with pytest.raises(ConflictError, match="same machine and login as n1"):
        desk.plane.enrol("twin", node.key.public.text())
    assert desk.row(Node, "twin").tag is None


def test_a_late_receipt_books_tokens_and_minutes_too(desk: Desk) -> None:
    node, order = offered(desk)
    node.start(order)
    for _ in range(100):
        desk.turn(10_000)
    assert desk.row(Run, "r-0001").outcome is Outcome.LOST
    spent = Usage(cost_usd=Decimal("0.10"), cost_source="reported", input_tokens=9, agent_ms=60_000)
    node.deliver(order, usage=spent)
    node.breathe()
    assert (day(desk).tokens, day(desk).agent_ms) == (9, 60_000)
    desk.check_books()


def test_an_unknown_cost_holds_in_lasting_scopes_until_its_day_is_over(desk: Desk) -> None:
    node, order = offered(desk)
    node.start(order)
    node.deliver(order, usage=Usage(cost_usd=None, cost_source="unknown"))
    desk.turn()
    today = next(b.scope for b in desk.rows(Balance) if b.scope.startswith("day:"))
    held = {"agent:builder": Decimal("0.75"), "node:n1": Decimal("0.75"), today: Decimal("0.75")}
    desk.turn(3_600_000)
    assert {b.scope: b.held_usd for b in desk.rows(Balance)} == held
    desk.turn(24 * 3_600_000)
    left = {b.scope: (b.held_usd, b.unknown_runs) for b in desk.rows(Balance)}
    gone = (Decimal(0), 1)
    assert left == {"agent:builder": gone, "node:n1": gone, today: (Decimal("0.75"), 1)}
    desk.check_books()
    desk.restart()
    desk.turn(1_000)
    assert desk.plane.settle_by_hand("r-0001", Decimal("0.40"), "ana") == 1
    spent = {b.scope: (b.spent_usd, b.held_usd, b.unknown_runs) for b in desk.rows(Balance)}
    assert set(spent.values()) == {(Decimal("0.40"), Decimal(0), 0)}, "told late, it is booked everywhere"
    desk.check_books()
