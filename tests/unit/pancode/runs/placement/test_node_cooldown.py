"""A node that is in no state to work, or whose owner allows less, takes nothing away from the others."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.event import Refused
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.job import Job
from node_agent.wire.node import Allowed, NodeProblem
from node_agent.wire.policy import Safety
from pancode.budget.books import Ceilings
from pancode.config.fleet_settings import pause_queue
from pancode.fleet import fleet as query_fleet
from pancode.fleet import inventory
from pancode.kernel.node import MOST_CHARS
from pancode.kernel.records import Balance, Closed, Decision, Lease, Run, RunState
from pancode.runs.ceilings import set_ceilings
from pancode.runs.life.case import MAX_BINDINGS
from pancode.runs.life.changes import PassOver
from pancode.runs.placement import breaker_service
from pancode.runs.reconcile import act_now
from tests.unit.pancode.runs.world import Desk, Puppet, facts, failed

FULL = NodeProblem(what="less than 512 MB free", fix="free disk space on the node")


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def two(coordinator: Desk) -> tuple[Puppet, Puppet]:
    """The first one is the freest: it is chosen."""
    nodes = Puppet(coordinator, "n1", slots=4), Puppet(coordinator, "n2", slots=1)
    for node in nodes:
        node.breathe()
    return nodes


def refuse(coordinator: Desk, node: Puppet, why: JobRefusal, detail: str = "no") -> Job:
    job = node.take()
    node.say(job.identity, Refused(why=why, detail=detail))
    coordinator.turn()
    return job


def wait(coordinator: Desk, *nodes: Puppet, ms: int = 10_000) -> None:
    """Time passes, in which all of them are heard."""
    for _ in range(ms // 5_000):
        for node in nodes:
            node.breathe()


def reason(coordinator: Desk) -> str:
    return str(coordinator.row(Run, "r-0001").reason)


def test_a_full_node_that_is_freest_leaves_the_run_to_another(coordinator: Desk) -> None:
    full, other = two(coordinator)
    coordinator.dispatch()
    coordinator.turn()
    refuse(coordinator, full, JobRefusal.DISK_FULL, "less than 512 MB free")
    wait(coordinator, full, other)
    assert full.claim() is None
    job = other.take()
    assert job.identity.attempt == 1


def test_a_run_that_is_pinned_to_a_full_node_waits_as_long_as_it_is_full(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(node="n1")
    coordinator.turn()
    for _ in range(MAX_BINDINGS + 3):
        refuse(coordinator, node, JobRefusal.DISK_FULL, "less than 512 MB free")
        wait(coordinator, node)
        assert node.claim() is None, "it is not asked at once again"
        assert (
            reason(coordinator) == "n1 accepts no work: less than 512 MB free (free disk space on the node)"
        )
        coordinator.clock.ms += coordinator.rules.rest_ms
        wait(coordinator, node)
    job = node.take()
    assert coordinator.row(Run, "r-0001").state is RunState.PENDING
    assert {f.closed for f in coordinator.rows(Lease)} == {Closed.NOT_NOW, None}
    node.deliver(job)
    coordinator.turn()
    assert coordinator.row(Run, "r-0001").outcome is Outcome.DONE


def test_a_node_that_says_that_it_is_full_is_offered_nothing(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.facts, node.slots = facts(shut=FULL), 0
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    assert node.claim() is None
    assert (
        reason(coordinator)
        == "n1 accepts no work: less than 512 MB free (n1 says: free disk space on the node)"
    )
    node.facts, node.slots = facts(), 2
    node.breathe()
    assert node.claim() is not None


def test_what_a_node_says_of_itself_stays_one_short_line_of_the_reason(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.facts, node.slots = (
        facts(shut=NodeProblem(what="a\u202e\x1b[2J\n" + "b" * 4_000, fix="c\n" * 900)),
        0,
    )
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    said = reason(coordinator)
    assert said.startswith("n1 accepts no work: a [2J bbb") and said.isprintable()
    assert len(said) < 2 * MOST_CHARS + 50


def test_other_refusals_are_counted_and_waits_are_not(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    for number in range(MAX_BINDINGS):
        refuse(coordinator, node, JobRefusal.DISK_FULL)
        coordinator.clock.ms += coordinator.rules.rest_ms
        wait(coordinator, node)
        assert coordinator.row(Run, "r-0001").state is RunState.PENDING, number
        refuse(coordinator, node, JobRefusal.NO_SLOT)
        wait(coordinator, node)
    ended = coordinator.row(Run, "r-0001")
    assert (ended.outcome, ended.failure) == (Outcome.INFRA, FailureKind.NODE_INTERNAL)


def test_what_an_owner_does_not_allow_is_never_offered_there(coordinator: Desk) -> None:
    strict, other = Puppet(coordinator, "n1", slots=4), Puppet(coordinator, "n2", slots=1)
    strict.facts = facts(allows=Allowed(runtimes=("shell",)))
    wait(coordinator, strict, other)
    coordinator.dispatch()
    coordinator.dispatch("r-0002", node="n1")
    coordinator.turn()
    assert strict.claim() is None and other.claim() is not None
    words = "n1 may not take it: this node's owner does not allow runtime claude"
    assert coordinator.row(Run, "r-0002").reason == words


@pytest.mark.parametrize(
    ("allows", "words"),
    [
        (Allowed(safety=Safety.SUGGEST), "safety level auto-edit is above this node's ceiling suggest"),
        (Allowed(repositories=("other-1",)), "this node's owner does not allow repository demo-1"),
        (Allowed(closed="its file cannot be read"), "its file cannot be read"),
    ],
)
def test_each_limit_of_an_owner_is_told_in_the_reason(coordinator: Desk, allows: Allowed, words: str) -> None:
    node = Puppet(coordinator)
    node.facts = facts(allows=allows)
    node.breathe()
    coordinator.dispatch(workspace={"kind": "git", "repo": "demo-1", "base": None, "snapshot": "a" * 40})
    coordinator.turn()
    assert node.claim() is None
    assert words in reason(coordinator)


@pytest.mark.parametrize("why", [JobRefusal.CEILING, JobRefusal.RUNTIME_MISSING])
def test_a_refusal_of_one_owner_sends_the_run_to_another(coordinator: Desk, why: JobRefusal) -> None:
    strict, other = two(coordinator)
    coordinator.dispatch()
    coordinator.turn()
    refuse(coordinator, strict, why, "not here")
    wait(coordinator, strict, other)
    assert strict.claim() is None
    job = other.take()
    assert job.identity.attempt == 1, "no attempt was used up"
    shown, _ = query_fleet.list_nodes(coordinator.core)
    fixes = {p["what"]: p["fix"] for p in shown["problems"]}
    assert fixes["could not take r-0001: not here"]


def test_who_is_passed_over_stands_for_nobody_who_asks_for_the_same(coordinator: Desk) -> None:
    node = Puppet(coordinator, slots=4)
    node.breathe()
    pause_queue(coordinator.core, None, "lunch", "me")
    for number in range(1, 4):
        coordinator.dispatch(f"r-000{number}")
    breaker_service.record_refusal(coordinator.core, PassOver("n1", "r-0001", JobRefusal.CEILING, "not here"))
    pause_queue(coordinator.core, None, None, "me")
    coordinator.turn()
    assert sorted(lease.run for lease in coordinator.rows(Lease)) == ["r-0002", "r-0003"]


def test_a_refused_pinned_run_is_offered_again_after_a_long_while_and_not_for_ever(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(node="n1")
    coordinator.turn()
    for _ in range(MAX_BINDINGS):
        refuse(coordinator, node, JobRefusal.CEILING, "not here")
        wait(coordinator, node)
        assert node.claim() is None
        coordinator.clock.ms += coordinator.rules.shun_ms
        wait(coordinator, node)
    assert coordinator.row(Run, "r-0001").outcome is Outcome.INFRA


def test_a_node_without_money_leaves_the_run_to_another(coordinator: Desk) -> None:
    poor, other = two(coordinator)
    set_ceilings(coordinator.core, "node:n1", Ceilings(Decimal("0.50")), "test")
    coordinator.dispatch(usd="0.75")
    coordinator.turn()
    assert poor.claim() is None and other.claim() is not None


def test_who_waits_for_a_nodes_money_keeps_its_slot_from_nobody(coordinator: Desk) -> None:
    node = Puppet(coordinator, slots=1)
    node.breathe()
    set_ceilings(coordinator.core, "node:n1", Ceilings(Decimal("0.50")), "test")
    coordinator.dispatch(usd="0.75", node="n1", priority=9)
    coordinator.dispatch("r-0002", usd="0.50", node="n1")
    coordinator.turn()
    job = node.take()
    assert job.identity.run == "r-0002"
    assert reason(coordinator).startswith("node:n1: Dispatch blocked: Budget ceiling would be exceeded")


def test_what_is_bound_in_one_round_fits_under_a_nodes_ceiling_together(coordinator: Desk) -> None:
    node = Puppet(coordinator, slots=4)
    node.breathe()
    set_ceilings(coordinator.core, "node:n1", Ceilings(Decimal("1.00")), "test")
    for number in range(3):
        coordinator.dispatch(f"r-000{number}", usd="0.40")
    coordinator.turn()
    assert [node.claim() is not None for _ in range(3)] == [True, True, False]
    assert "reserved: $0.80" in coordinator.row(Run, "r-0002").reason


@pytest.mark.parametrize("restarted", [False, True])
def test_a_bad_key_on_one_node_sends_the_next_attempt_to_another(coordinator: Desk, restarted: bool) -> None:
    """Also when the coordinator is another by then."""
    bad, good = two(coordinator)
    coordinator.dispatch()
    coordinator.turn()
    bad.carry_out(**failed(FailureKind.MODEL_AUTH, Outcome.INFRA))
    if restarted:
        coordinator.restart()
    wait(coordinator, bad, good, ms=20_000)
    assert bad.claim() is None
    later = good.take()
    assert later.identity.attempt == 2


@pytest.mark.parametrize("changes", [{"node": "n1"}, {"max_attempts": 1}])
def test_a_bad_key_ends_the_run_where_no_other_node_may_take_it(
    coordinator: Desk, changes: dict[str, Any]
) -> None:
    bad, good = two(coordinator)
    coordinator.dispatch(**changes)
    coordinator.turn()
    bad.carry_out(**failed(FailureKind.MODEL_AUTH, Outcome.INFRA))
    wait(coordinator, bad, good, ms=20_000)
    assert coordinator.row(Run, "r-0001").failure is FailureKind.MODEL_AUTH
    assert good.claim() is None


def test_a_run_of_which_no_job_can_be_made_holds_up_no_other(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch("r-0001", priority=9, limits={"wall_ms": -1, "idle_ms": 1, "output_bytes": 1})
    coordinator.dispatch("r-0002")
    coordinator.turn()
    job = node.take()
    assert job.identity.run == "r-0002"
    ended = coordinator.row(Run, "r-0001")
    assert ended.outcome is Outcome.INFRA and ended.reason.startswith("cannot make a job for it: ")
    assert "placement" in {one.kind for one in coordinator.rows(Decision, run="r-0001")}
    assert {b.reserved_usd for b in coordinator.rows(Balance) if b.scope == "agent:builder"} == {
        Decimal("0.75")
    }
    coordinator.check_books()


@pytest.mark.parametrize("away", ["never heard", "paused", "draining", "silent"])
def test_a_bad_key_ends_the_run_where_the_other_node_cannot_be_had(coordinator: Desk, away: str) -> None:
    bad = Puppet(coordinator, "n1", slots=4)
    other = Puppet(coordinator, "n2", slots=1)
    if away != "never heard":
        other.breathe()
    if away == "paused":
        inventory.pause(coordinator.core, "n2", "lunch", "me")
    if away == "draining":
        inventory.drain(coordinator.core, "n2", "lunch", "me")
    wait(coordinator, bad, ms=coordinator.rules.deadlines.suspect_ms + 10_000)
    coordinator.dispatch()
    coordinator.turn()
    bad.carry_out(**failed(FailureKind.MODEL_AUTH, Outcome.INFRA))
    assert coordinator.row(Run, "r-0001").failure is FailureKind.MODEL_AUTH


def test_a_gate_with_a_typo_is_no_problem_of_the_machine(coordinator: Desk) -> None:
    node, _ = two(coordinator)
    coordinator.dispatch()
    coordinator.turn()
    node.carry_out(**failed(FailureKind.GATE_MISSING, Outcome.ERROR))
    core = coordinator.core
    assert "n1" in breaker_service.list_shunned(core)["r-0001"], "another node may have the program"
    assert breaker_service.of_node(core, "n1") == []


def test_who_waits_for_another_node_is_told_why_the_first_could_not_take_it(coordinator: Desk) -> None:
    bad, other = two(coordinator)
    coordinator.dispatch()
    coordinator.turn()
    refuse(coordinator, bad, JobRefusal.CEILING, "not here")
    inventory.pause(coordinator.core, "n2", "lunch", "me")
    wait(coordinator, bad, other)
    assert reason(coordinator) == "n2 is paused: lunch; n1 could not take it: not here"


def test_a_node_that_is_back_in_service_is_asked_at_once_and_knows_it_before_the_job(
    coordinator: Desk,
) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    inventory.drain(coordinator.core, "n1", "new disk", "ana")
    refuse(coordinator, node, JobRefusal.DRAINING, "this node is draining")
    wait(coordinator, node)
    writes: list[str] = []
    coordinator.redis.fault = lambda operation, _tag: writes.append(operation)
    inventory.drain(coordinator.core, "n1", None, "ana")
    act_now(coordinator.core)
    assert writes.index("send_controls") < writes.index("push_job")
    assert node.claim() is not None
    assert breaker_service.of_node(coordinator.core, "n1") == []
