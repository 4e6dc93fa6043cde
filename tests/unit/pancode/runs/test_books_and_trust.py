"""What a node may not claim, what a ceiling of its own means, and that a machine has one name."""

from __future__ import annotations

from decimal import Decimal

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.receipt import Usage
from pancode.budget.books import Ceilings
from pancode.fleet import inventory
from pancode.fleet.place import Reach
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ConflictError
from pancode.kernel.records import Balance, Node, Run
from pancode.runs.ceilings import set_ceilings, settle_by_hand
from tests.unit.pancode.runs.world import Desk, Puppet, offered


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def day(coordinator: Desk) -> Balance:
    return next(b for b in coordinator.rows(Balance) if b.scope.startswith("day:"))


def test_a_nodes_own_ceiling_holds_at_the_binding(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    set_ceilings(coordinator.core, "node:n1", Ceilings(Decimal("0.50")), "test")
    coordinator.dispatch()
    coordinator.turn()
    assert node.claim() is None
    assert "node:n1: Dispatch blocked: Budget ceiling" in coordinator.row(Run, "r-0001").reason
    set_ceilings(coordinator.core, "node:n1", Ceilings(Decimal("1.00")), "test")
    node.breathe()
    assert node.claim() is not None
    coordinator.check_books()


def test_a_machine_has_one_name(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    inventory.add(coordinator.core, Node("twin", 0, {}, {}, 4))
    with pytest.raises(ConflictError, check=lambda error: error.code == "same_machine"):
        inventory.enrol(coordinator.core, "twin", node.key.public.text())
    assert coordinator.row(Node, "twin").tag is None


def test_a_home_of_another_node_is_refused_with_its_cause(coordinator: Desk) -> None:
    def add(name: str, key: str) -> None:
        reach = Reach({"alias": name}, {f"{name}:22": key})
        inventory.add(coordinator.core, Node(name, 0, to_json(reach), {}, 4))

    add("a", "ssh-ed25519 AAAA1")
    add("again", "ssh-ed25519 AAAA1")
    add("shares", "ssh-ed25519 AAAA2")
    with pytest.raises(ConflictError) as same:
        inventory.refuse_home_of(coordinator.core, "again", "a", "/home/ops/.pancode-node/f")
    with pytest.raises(ConflictError) as shared:
        inventory.refuse_home_of(coordinator.core, "shares", "a", "/home/ops/.pancode-node/f")
    assert (same.value.code, shared.value.code) == ("same_machine", "same_home")
    assert "pancode node add shares --node-home" in shared.value.fix
    assert "rm -r /home/ops/.pancode-node/f" in shared.value.fix
    inventory.refuse_home_of(coordinator.core, "shares", "gone", "/home/ops/.pancode-node/f")


def test_a_late_receipt_books_tokens_and_minutes_too(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.start(job)
    for _ in range(100):
        coordinator.turn(10_000)
    assert coordinator.row(Run, "r-0001").outcome is Outcome.LOST
    spent = Usage(cost_usd=Decimal("0.10"), cost_source="reported", input_tokens=9, agent_ms=60_000)
    node.deliver(job, usage=spent)
    node.breathe()
    assert (day(coordinator).tokens, day(coordinator).agent_ms) == (9, 60_000)
    coordinator.check_books()


def test_an_unknown_cost_holds_in_lasting_scopes_until_its_day_is_over(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.carry_out(job, usage=Usage(cost_usd=None, cost_source="unknown"))
    today = next(b.scope for b in coordinator.rows(Balance) if b.scope.startswith("day:"))
    held = {"agent:builder": Decimal("0.75"), "node:n1": Decimal("0.75"), today: Decimal("0.75")}
    coordinator.turn(3_600_000)
    assert {b.scope: b.reserved_usd for b in coordinator.rows(Balance)} == held
    coordinator.turn(24 * 3_600_000)
    left = {b.scope: (b.reserved_usd, b.unknown_runs) for b in coordinator.rows(Balance)}
    gone = (Decimal(0), 1)
    assert left == {"agent:builder": gone, "node:n1": gone, today: (Decimal("0.75"), 1)}
    coordinator.check_books()
    coordinator.restart()
    coordinator.turn(1_000)
    assert settle_by_hand(coordinator.core, "r-0001", Decimal("0.40"), "ana") == 1
    spent = {b.scope: (b.spent_usd, b.reserved_usd, b.unknown_runs) for b in coordinator.rows(Balance)}
    assert set(spent.values()) == {(Decimal("0.40"), Decimal(0), 0)}, "told late, it is booked everywhere"
    coordinator.check_books()
