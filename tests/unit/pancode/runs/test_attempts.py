"""How often a run is tried, and what all its attempts together may spend."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.event import Refused
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.job import Job
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from node_agent.wire.receipt import Blob, GateResult, ModelCalls, Usage
from pancode.budget.books import Ceilings
from pancode.kernel.records import Attempt, Balance, Decision, Lease, Run
from pancode.runs import views as query
from pancode.runs.admission.planning import RecordsPicker
from pancode.runs.ceilings import set_ceilings
from pancode.runs.stop import stop_run
from tests.unit.pancode.runs.world import Desk, Puppet, facts, failed

LIMITS = {"wall_ms": 60_000, "idle_ms": 60_000, "output_bytes": 1_000_000, "usd": "1.00"}
VANISHED = failed(FailureKind.PROCESS_VANISHED, Outcome.INFRA)
BUSY = {**failed(FailureKind.MODEL_BUSY, Outcome.INFRA)}


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def started(coordinator: Desk, **changes: Any) -> tuple[Puppet, Job]:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(**changes)
    coordinator.turn()
    return node, begun(node)


def begun(node: Puppet) -> Job:
    job = node.take()
    node.start(job)
    return job


def later(coordinator: Desk, node: Puppet) -> None:
    for _ in range(8):
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
    node, job = started(coordinator, max_attempts=most)
    node.deliver(job, **VANISHED)
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
    node, job = started(coordinator, limits=LIMITS)
    assert job.limits.usd == Decimal("1.00")
    node.deliver(job, **BUSY, **spent("0.70"))
    later(coordinator, node)
    again = begun(node)
    assert again.limits.usd == Decimal("0.30")
    assert coordinator.row(Attempt, "r-0001", 2).reserved_usd == Decimal("0.30"), (
        "less than the estimate is left"
    )
    node.deliver(again, **spent("0.30"))
    coordinator.turn()
    assert coordinator.row(Run, "r-0001").outcome is Outcome.DONE
    coordinator.check_books()


def test_an_unknown_cost_counts_as_what_was_held_for_it(coordinator: Desk) -> None:
    node, job = started(coordinator, limits=LIMITS)
    node.deliver(job, **BUSY, **spent(None))
    later(coordinator, node)
    assert begun(node).limits.usd == Decimal("0.25")


@pytest.mark.parametrize("usd", ["1.00", "1.40"])
def test_no_attempt_follows_when_nothing_is_left(coordinator: Desk, usd: str) -> None:
    node, job = started(coordinator, limits=LIMITS, max_attempts=3)
    node.deliver(job, **BUSY, **spent(usd))
    later(coordinator, node)
    assert node.claim() is None
    ended = coordinator.row(Run, "r-0001")
    assert (ended.outcome, ended.failure) == (Outcome.INFRA, FailureKind.MODEL_BUSY)
    assert "not tried again: the run's budget is used up" in stories(coordinator)
    coordinator.check_books()


def test_the_next_attempt_waits_for_the_budget_and_goes_on_when_there_is_some(coordinator: Desk) -> None:
    set_ceilings(coordinator.core, "day", Ceilings(Decimal("1.00")), "test")
    node, job = started(coordinator, usd="0.75")
    node.deliver(job, **VANISHED, **spent("0.75"))
    later(coordinator, node)
    assert node.claim() is None
    words = "would be exceeded (spent: $0.75, reserved: $0.00, estimated next: $0.75, ceiling: $1.00)"
    assert words in coordinator.row(Run, "r-0001").reason
    set_ceilings(coordinator.core, "day", Ceilings(Decimal("2.00")), "test")
    later(coordinator, node)
    assert begun(node).identity.attempt == 2
    (day,) = [b for b in coordinator.rows(Balance) if b.scope.startswith("day:")]
    assert (day.spent_usd, day.reserved_usd) == (Decimal("0.75"), Decimal("0.75"))


def test_what_never_started_cost_nothing(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    job = node.take()
    node.say(job.identity, Refused(why=JobRefusal.LEASE_CONFLICT, detail="x"))
    coordinator.turn()
    assert coordinator.row(Run, "r-0001").outcome is Outcome.INFRA
    assert query.get_run_shape(coordinator.core, "r-0001")["usage"]["cost_usd"] == "0"
    coordinator.dispatch("r-0002", node="elsewhere")
    stop_run(coordinator.core, "r-0002", "by test")
    usage = query.get_run_shape(coordinator.core, "r-0002")["usage"]
    assert (usage["cost_usd"], usage["cost_source"]) == ("0", "not started")


def test_a_lost_job_that_never_started_cost_nothing_in_the_end(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    job = node.take()
    for _ in range(100):
        coordinator.turn(10_000)
    assert query.get_run_shape(coordinator.core, "r-0001")["usage"]["cost_usd"] is None
    node.say(job.identity, Refused(why=JobRefusal.TOO_LATE, detail="x"))
    coordinator.turn()
    assert query.get_run_shape(coordinator.core, "r-0001")["usage"]["cost_usd"] == "0"
    assert coordinator.row(Lease, "r-0001", job.identity.lease).receipt is None
    coordinator.check_books()


def test_what_cost_nothing_says_nothing_of_what_work_costs(coordinator: Desk) -> None:
    node, job = started(coordinator, max_attempts=1)
    node.deliver(job, **BUSY, **spent("0"))
    later(coordinator, node)
    expect = RecordsPicker(coordinator.core, None).expect
    run = coordinator.row(Run, "r-0001")
    assert expect(run.agent, run.runtime, run.model, run.task) is None, (
        "else the next run would be held for at nothing"
    )
    coordinator.dispatch("r-0002")
    coordinator.turn()
    node.deliver(begun(node), **spent("0.30"))
    later(coordinator, node)
    found = RecordsPicker(coordinator.core, None).expect(run.agent, run.runtime, run.model, run.task)
    assert found is not None and found.usd == Decimal("0.3")


def test_a_failed_gate_is_tried_again_with_its_output_in_the_order(coordinator: Desk) -> None:
    name, argv = "make test", ("make", "test")
    gate = {"name": name, "argv": list(argv)}
    node = Puppet(coordinator)
    node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(RuntimeFact(name="native", state="ok"),))
    node.breathe()
    coordinator.dispatch(runtime="native", gates=(gate,), task="add a listener", terms={"verify_retries": 1})
    coordinator.turn()
    job = begun(node)
    coordinator.depot.blobs["gates.log"] = b"noise " * 3_000 + b"\nassert door.is_open\n"
    size = len(coordinator.depot.blobs["gates.log"])
    ended: dict[str, Any] = {
        **failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED),
        "gates": (GateResult(name=name, argv=argv, passed=False, exit_code=2, duration_ms=1),),
        "blobs": (Blob(name="gates.log", size=size, sha256="0" * 64),),
        "files_changed": ("door.py",),
    }
    node.deliver(job, **ended)
    later(coordinator, node)
    again = begun(node)
    assert job.task == "add a listener"
    assert again.task.endswith("The task:\n\nadd a listener")
    assert "make test: exit 2" in again.task and "assert door.is_open" in again.task
    assert "door.py" in again.task and len(again.task) < 9_000
    assert any("verification: with the output of the gates" in story for story in stories(coordinator))
    node.deliver(again, **ended)
    later(coordinator, node)
    assert node.claim() is None
    assert coordinator.row(Run, "r-0001").outcome is Outcome.VERIFY_FAILED
    assert "not tried again: verification: already retried 1 time, the most allowed" in stories(coordinator)


def test_a_script_is_not_changed_when_it_is_tried_again(coordinator: Desk) -> None:
    node, job = started(coordinator, max_attempts=2, runtime="shell")
    node.deliver(job, **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    later(coordinator, node)
    assert begun(node).task == job.task


def test_a_rate_limit_waits_as_long_as_the_provider_asks(coordinator: Desk) -> None:
    node, job = started(coordinator)
    node.deliver(job, **BUSY, calls=ModelCalls(requests=3, failed=3, retry_ms=90_000))
    before = coordinator.clock.wall_ms()
    later(coordinator, node)
    run = coordinator.row(Run, "r-0001")
    assert run.retry_at_ms is not None and 90_000 <= run.retry_at_ms - before <= 120_000
    assert any("rate limit" in story for story in stories(coordinator))


def test_a_limit_of_a_login_is_waited_for_until_it_ends(coordinator: Desk) -> None:
    """The program has told it: a window of a subscription, which no gateway sees."""
    node, job = started(coordinator)
    hours = 3_600_000
    node.deliver(job, **BUSY, resets_ms=5 * hours)
    before = coordinator.clock.wall_ms()
    later(coordinator, node)
    run = coordinator.row(Run, "r-0001")
    assert run.retry_at_ms is not None and 0 <= run.retry_at_ms - before - 5 * hours <= 30_000
    moment = datetime.fromtimestamp(run.retry_at_ms / 1000, UTC)
    assert f"limited until {moment:%Y-%m-%d %H:%M} UTC" in run.reason


def test_a_fault_of_a_node_moves_the_run_to_another(coordinator: Desk) -> None:
    node, job = started(coordinator)
    other = Puppet(coordinator, "n2")
    other.breathe()
    node.deliver(job, **VANISHED)
    for _ in range(3):
        node.breathe()
        other.breathe()
    assert node.claim() is None
    moved = other.take()
    assert moved.identity.attempt == 2
