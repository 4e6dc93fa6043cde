"""One run through the control plane: offered, told, settled, acknowledged; and each way it can go wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest

from node_agent.wire.control import Acknowledge, Reject, Resend
from node_agent.wire.event import Marked, Refused
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.receipt import Blob
from node_agent.wire.signing import SigningKey
from pancode.fleet import fleet as query_fleet
from pancode.fleet import inventory
from pancode.kernel.records import Audit, Balance, Lease, Run, RunState
from pancode.runs.reconcile import act_now, run_pass
from tests.unit.pancode.runs.world import Desk, Puppet, failed, offered


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def day(coordinator: Desk) -> Balance:
    return next(b for b in coordinator.rows(Balance) if b.scope.startswith("day:"))


def test_a_run_is_offered_run_settled_and_acknowledged(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    run = coordinator.dispatch()
    coordinator.turn()
    job = node.take()
    assert job.identity.run == run.id
    assert coordinator.row(Run, run.id).reason == "offered to n1"
    node.start(job)
    coordinator.turn()
    assert coordinator.row(Run, run.id).state is RunState.RUNNING
    envelope = node.deliver(job)
    coordinator.turn()
    ended = coordinator.row(Run, run.id)
    assert (ended.state, ended.outcome) == (RunState.ENDED, Outcome.DONE)
    assert (day(coordinator).spent_usd, day(coordinator).reserved_usd) == (Decimal("0.10"), Decimal(0))
    (control,) = node.controls()
    assert isinstance(control.body, Acknowledge)
    countersigned = envelope.model_copy(
        update={"signatures": (*envelope.signatures, control.body.countersignature)}
    )
    assert coordinator.key.countersign(envelope) == countersigned
    coordinator.check_books()


def test_a_slot_is_taken_until_the_gates_are_over(coordinator: Desk) -> None:
    """By our own count: a heartbeat that names no open attempt gives nothing back."""
    node = Puppet(coordinator, slots=1)
    node.breathe()
    coordinator.dispatch("r-0001")
    coordinator.turn()
    job = node.claim()
    coordinator.dispatch("r-0002")
    assert job is not None
    node.start(job)
    for mark in (Mark.EXITED, Mark.COMMITTED):  # its gates run from here on
        node.say(job.identity, Marked(mark=mark))
        node.breathe()
        assert coordinator.row(Lease, "r-0001", 1).mark == mark and node.claim() is None
    node.say(job.identity, Marked(mark=Mark.GATED))
    coordinator.turn()
    second = node.take()
    assert second.identity.run == "r-0002"


def test_no_job_before_the_inventory(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    coordinator.dispatch()
    node.breathe(inventory=False)
    assert node.claim() is None
    assert "has not requested" in coordinator.row(Run, "r-0001").reason
    node.breathe()
    assert node.claim() is not None


def test_of_a_crowd_it_is_said_now_and_then_why_it_waits(coordinator: Desk) -> None:
    """Who gets a free slot is decided at once, in the same order; the others are told within the second."""
    node = Puppet(coordinator, slots=1)
    node.breathe()
    coordinator.turn()
    for number in range(40):
        coordinator.dispatch(f"r-00{number:02}", usd="0.01")
    coordinator.turn(0)
    first = node.take()
    assert first.identity.run == "r-0000"
    late = coordinator.dispatch("r-0040", usd="0.01")
    node.start(first)
    node.deliver(first)
    coordinator.turn(0)
    second = node.take()
    assert second.identity.run == "r-0001"
    assert coordinator.row(Run, late.id).reason == "queued"
    coordinator.turn()
    assert coordinator.row(Run, late.id).reason == "n1 is busy, no free slot"


def test_a_slot_that_the_node_names_is_taken_even_if_we_forgot_it(coordinator: Desk) -> None:
    node = Puppet(coordinator, slots=1)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    job = node.take()
    node.open = [job.identity]
    node.deliver(job)
    node.breathe()
    coordinator.dispatch("r-0002")
    coordinator.turn()
    assert node.claim() is None
    node.open = []
    node.breathe()
    assert node.claim() is not None


def test_a_slot_is_free_again_with_the_receipt_not_with_the_next_heartbeat(coordinator: Desk) -> None:
    node = Puppet(coordinator, slots=1)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    job = node.take()
    node.open = [job.identity]
    node.breathe()
    node.deliver(job)
    coordinator.dispatch("r-0002")
    coordinator.turn()
    assert node.claim() is not None


def test_a_heartbeat_of_before_the_receipt_takes_no_slot_back(coordinator: Desk) -> None:
    """In a busy fleet it is heard up to a second later: the slot stood empty until the next one came."""
    node = Puppet(coordinator, slots=1)
    node.breathe()
    coordinator.dispatch()
    coordinator.turn()
    job = node.take()
    coordinator.clock.ms += 100
    node.open = [job.identity]
    node.heartbeat()
    node.deliver(job)
    run_pass(coordinator.core, woken=True)
    coordinator.clock.ms += coordinator.rules.look_ms
    run_pass(coordinator.core, woken=True)
    coordinator.dispatch("r-0002")
    act_now(coordinator.core)
    assert node.claim() is not None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"order": "1" * 64}, "order is"),
        ({"runtime": "shell"}, "runtime is"),
        ({"epoch": 7}, "epoch is"),
        ({"session": "--dangerously-skip-permissions"}, "is not a valid session name"),
        ({"session": "../../etc"}, "is not a valid session name"),
        ({"outcome": Outcome.TIMEOUT}, "with failure None"),
        ({"failure": FailureKind.WALL_LIMIT}, "contradicts"),
        ({"snapshot": "b" * 40}, "snapshot is"),
        ({"change": "change"}, "without a commit"),
    ],
)
def test_a_false_receipt_is_rejected(coordinator: Desk, changes: dict[str, object], why: str) -> None:
    node, job = offered(coordinator)
    node.deliver(job, **changes)
    coordinator.turn()
    run = coordinator.row(Run, "r-0001")
    assert (run.outcome, run.failure) == (Outcome.INFRA, FailureKind.RECEIPT_REJECTED)
    assert why in run.reason
    (control,) = node.controls()
    assert isinstance(control.body, Reject)
    assert day(coordinator).unknown_runs == 1
    coordinator.check_books()


def test_a_result_that_the_depot_refused_costs_the_result_and_not_the_receipt(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    refused = failed(FailureKind.RESULT_REFUSED, Outcome.ERROR) | {
        "reason": "the depot refused the result: fsck"
    }
    node.deliver(job, change="change", commit=None, **refused)
    coordinator.turn()
    run = coordinator.row(Run, "r-0001")
    assert (run.outcome, run.failure, run.reason) == (
        Outcome.ERROR,
        FailureKind.RESULT_REFUSED,
        "the depot refused the result: fsck",
    )
    assert [type(c.body) for c in node.controls()] == [Acknowledge]
    assert (day(coordinator).spent_usd, day(coordinator).reserved_usd, day(coordinator).unknown_runs) == (
        Decimal("0.10"),
        Decimal(0),
        0,
    )
    coordinator.check_books()


def test_missing_bytes_are_asked_for_and_then_accepted(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    coordinator.depot.missing_blobs = {"out"}
    blob = Blob(name="out", size=1, sha256="0" * 64)
    node.deliver(job, blobs=(blob,))
    coordinator.turn()
    (control,) = node.controls()
    assert isinstance(control.body, Resend) and control.body.missing == ("out",)
    coordinator.depot.missing_blobs = set()
    node.deliver(job, blobs=(blob,))
    coordinator.turn()
    assert coordinator.row(Run, "r-0001").outcome is Outcome.DONE


def test_another_receipt_for_the_same_lease_is_refused(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.deliver(job)
    coordinator.turn()
    node.deliver(job, reason="another story")
    coordinator.turn()
    assert [type(c.body) for c in node.controls()] == [Acknowledge, Reject]
    assert coordinator.row(Run, "r-0001").reason == "exit 0"
    assert any(a.what == "receipt rejected" for a in coordinator.rows(Audit))


def test_forged_words_change_nothing(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    stranger = SigningKey(b"x" * 32)
    node.say(job.identity, Marked(mark=Mark.ACCEPTED), key=stranger)
    node.uplink.send(node.receipt(job).model_copy(update={"signatures": ()}).model_dump_json())
    node.uplink.send("{}")
    coordinator.turn()
    assert coordinator.row(Lease, "r-0001", 1).cursor == 0
    assert coordinator.row(Run, "r-0001").outcome is None
    codes = {a.detail["code"] for a in coordinator.rows(Audit) if a.domain == "trust"}
    assert codes == {"unknown_key", "unsigned", "malformed"}


def test_a_missing_runtime_on_the_only_node_is_waited_for(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.say(job.identity, Refused(why=JobRefusal.RUNTIME_MISSING, detail="no shell"))
    coordinator.turn()
    node.breathe()
    node.breathe()
    assert node.claim() is None
    assert coordinator.row(Run, "r-0001").reason == "n1 could not take it: no shell"
    coordinator.check_books()


def test_a_node_is_not_drained_while_it_has_a_run_that_its_heartbeat_does_not_know_yet(
    coordinator: Desk,
) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(node=node.name)
    coordinator.turn()
    job = node.take()
    node.start(job)
    coordinator.turn()
    inventory.drain(coordinator.core, node.name, "new disk", "ana")

    def state() -> str:
        return query_fleet.list_nodes(coordinator.core)[0]["state"]

    assert state() == "draining"
    node.deliver(job)
    coordinator.turn()
    assert state() == "drained"
