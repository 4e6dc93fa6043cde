"""Ceilings of tokens and agent-minutes: held with the money, all or nothing, refused in their own words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.event import Progress
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.receipt import Usage
from pancode.budget.books import Ceilings
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.records import Balance, BookEntry, Run
from pancode.runs.ceilings import set_ceilings, settle_by_hand, unset_ceiling
from pancode.runs.views import usage_of_run
from tests.unit.pancode.runs.world import Desk, Puppet, offered

MINUTE = 60_000
BUSY: dict[str, Any] = {"estimate_tokens": 400, "estimate_ms": 10 * MINUTE}


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def balance(coordinator: Desk, scope: str) -> Balance:
    found: list[Balance] = [b for b in coordinator.rows(Balance) if b.scope.startswith(scope)]
    return found[0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            Ceilings(tokens=700),
            "Token ceiling would be exceeded (used: 0, reserved: 400, estimated next: 400, ",
        ),
        (
            Ceilings(ms=15 * MINUTE),
            "Agent-minute ceiling would be exceeded (used: 0.0, reserved: 10.0, estimated next: 10.0, ",
        ),
    ],
)
@pytest.mark.parametrize("scope", ["day", "agent:builder"])
def test_the_second_of_two_that_do_not_fit_is_refused(
    coordinator: Desk, said: Ceilings, words: str, scope: str
) -> None:
    set_ceilings(coordinator.core, scope, said, "test")
    coordinator.dispatch(**BUSY)
    before = coordinator.rows(BookEntry)
    with pytest.raises(RefusedError) as refused:
        coordinator.dispatch("r-0002", **BUSY)
    assert words in str(refused.value)
    assert coordinator.rows(BookEntry) == before and coordinator.row(Run, "r-0002") is None, (
        "all of it or nothing"
    )
    coordinator.check_books()


def test_what_was_used_takes_the_place_of_what_was_held(coordinator: Desk) -> None:
    set_ceilings(coordinator.core, "day", Ceilings(tokens=700, ms=15 * MINUTE), "test")
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(**BUSY)
    coordinator.turn()
    job = node.take()
    for scope in ("day:", "agent:", "node:"):
        held = balance(coordinator, scope)
        assert (held.reserved_tokens, held.reserved_ms) == (400, 10 * MINUTE)
    usage = Usage(
        input_tokens=200, output_tokens=50, agent_ms=MINUTE, cost_usd=Decimal("0.1"), cost_source="reported"
    )
    node.deliver(job, usage=usage)
    coordinator.turn()
    for scope in ("day:", "agent:", "node:"):
        now = balance(coordinator, scope)
        assert (now.tokens, now.reserved_tokens, now.agent_ms, now.reserved_ms) == (250, 0, MINUTE, 0)
    coordinator.dispatch("r-0002", **BUSY)
    coordinator.check_books()


def test_the_next_attempt_waits_for_tokens_and_goes_on_when_there_are_some(coordinator: Desk) -> None:
    set_ceilings(coordinator.core, "day", Ceilings(tokens=700), "test")
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(**BUSY)
    coordinator.turn()
    job = node.take()
    spent = Usage(input_tokens=600, output_tokens=0, cost_usd=Decimal(0), cost_source="local")
    node.deliver(job, outcome=Outcome.INFRA, failure=FailureKind.PROCESS_VANISHED, reason="gone", usage=spent)
    for _ in range(3):
        node.breathe()
        coordinator.turn(20_000)
    assert "Token ceiling would be exceeded (used: 600," in coordinator.row(Run, "r-0001").reason
    assert node.claim() is None
    set_ceilings(coordinator.core, "day", Ceilings(tokens=1_000), "test")
    node.breathe()
    coordinator.turn()
    again = node.take()
    assert again.identity.attempt == 2
    coordinator.check_books()


def test_a_nodes_own_ceiling_leaves_the_run_to_another_and_is_why_one_waits(coordinator: Desk) -> None:
    first, other = Puppet(coordinator), Puppet(coordinator, "n2")
    for node in (first, other):
        node.breathe()
    set_ceilings(coordinator.core, "node:n1", Ceilings(ms=5 * MINUTE), "test")
    coordinator.dispatch(**BUSY)
    coordinator.dispatch("r-0002", node="n1", **BUSY)
    coordinator.turn()
    assert first.claim() is None and other.claim() is not None
    assert coordinator.row(Run, "r-0002").reason.startswith("node:n1: Dispatch blocked: Agent-minute ceiling")


def test_a_currency_that_is_not_named_stays_as_it_is_and_unset_takes_all(coordinator: Desk) -> None:
    set_ceilings(coordinator.core, "day", Ceilings(Decimal(3), 700), "ana")
    set_ceilings(coordinator.core, "day", Ceilings(ms=MINUTE), "ana")
    with coordinator.ledger.transaction() as tx:
        assert coordinator.core.ceilings(tx, "day:x") == Ceilings(Decimal(3), 700, MINUTE)
    unset_ceiling(coordinator.core, "day", "ana")
    with coordinator.ledger.transaction() as tx:
        assert coordinator.core.ceilings(tx, "day:x") == Ceilings(coordinator.rules.ceiling_usd)
    for wrong in (Ceilings(tokens=-1), Ceilings(ms=-1), Ceilings(Decimal(-1))):
        with pytest.raises(UsageError, match="negative"):
            set_ceilings(coordinator.core, "day", wrong, "ana")


def test_tokens_that_nobody_told_do_not_pass_the_ceiling(coordinator: Desk) -> None:
    set_ceilings(coordinator.core, "day", Ceilings(tokens=700), "test")
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch("r-0001", usd="0.01", estimate_tokens=400, estimate_ms=MINUTE)
    node.breathe()
    coordinator.turn()
    job = node.take()
    node.start(job)
    usage = Usage(agent_ms=MINUTE, cost_usd=None, cost_source="unknown")
    node.deliver(job, outcome=Outcome.TIMEOUT, failure=FailureKind.WALL_LIMIT, reason="late", usage=usage)
    coordinator.turn()
    assert (
        balance(coordinator, "day").reserved_tokens == 400 and balance(coordinator, "day").agent_ms == MINUTE
    )
    with pytest.raises(RefusedError, match="Token"):
        coordinator.dispatch("r-0002", usd="0.01", estimate_tokens=400, estimate_ms=MINUTE)


def test_a_lost_run_that_tells_its_work_later_has_it_in_the_books(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.start(job)
    for _ in range(100):
        coordinator.turn(10_000)
    assert coordinator.row(Run, "r-0001").outcome is Outcome.LOST
    held = balance(coordinator, "day").reserved_usd
    usage = Usage(input_tokens=5_000, agent_ms=11 * MINUTE, cost_usd=None, cost_source="unknown")
    node.deliver(job, usage=usage)
    node.breathe()
    now = balance(coordinator, "day")
    assert (now.tokens, now.agent_ms, now.reserved_usd) == (5_000, 11 * MINUTE, held)
    assert (now.reserved_tokens, now.reserved_ms, now.unknown_runs) == (0, 0, 1)
    settle_by_hand(coordinator.core, "r-0001", Decimal(4), "ana")
    assert (balance(coordinator, "day").spent_usd, balance(coordinator, "day").tokens) == (Decimal(4), 5_000)
    coordinator.check_books()


def test_a_lost_script_has_cost_nothing_and_its_late_receipt_books_its_time_once(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch("r-0001", usd="0", runtime="shell", estimate_ms=MINUTE)
    coordinator.turn()
    job = node.take()
    node.start(job)
    for _ in range(100):
        coordinator.turn(10_000)
    run = coordinator.row(Run, "r-0001")
    with coordinator.core.ports.ledger.transaction() as tx:
        usage = usage_of_run(tx, run)
    assert (run.outcome, usage["cost_usd"], usage["cost_source"]) == (Outcome.LOST, "0", "local")
    now = balance(coordinator, "day")
    assert (now.unknown_runs, now.reserved_usd, now.reserved_ms) == (0, Decimal(0), 0)
    node.deliver(job, usage=Usage(agent_ms=3 * MINUTE, cost_usd=Decimal(0), cost_source="local"))
    node.breathe()
    now = balance(coordinator, "day")
    assert (now.agent_ms, now.spent_usd, now.unknown_runs) == (3 * MINUTE, Decimal(0), 0)
    coordinator.check_books()


def test_the_time_that_a_lost_machine_swore_to_is_booked_whoever_tells_the_cost(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.start(job)
    node.say(job.identity, Progress(input_tokens=30, output_tokens=0, agent_ms=4 * MINUTE))
    for _ in range(100):
        coordinator.turn(10_000)
    assert coordinator.row(Run, "r-0001").outcome is Outcome.LOST
    assert (balance(coordinator, "day").tokens, balance(coordinator, "day").agent_ms) == (30, 4 * MINUTE)
    settle_by_hand(coordinator.core, "r-0001", Decimal(4), "ana")
    now = balance(coordinator, "day")
    assert (now.spent_usd, now.tokens, now.agent_ms, now.reserved_ms) == (Decimal(4), 30, 4 * MINUTE, 0)
    coordinator.check_books()
