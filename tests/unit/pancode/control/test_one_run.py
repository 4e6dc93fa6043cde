"""One run through the control plane: offered, told, settled, acknowledged; and each way it can go wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest

from node_agent.wire.control import Acknowledge, Reject, Resend, StopControl
from node_agent.wire.event import Marked, Progress, Refused
from node_agent.wire.failure import FailureKind, OrderRefusal, Outcome
from node_agent.wire.marks import Mark
from node_agent.wire.receipt import Blob, Usage
from node_agent.wire.signing import SigningKey
from pancode.control.query import fleet as query_fleet
from pancode.domain.fleet import NodeState
from pancode.domain.records import Audit, Balance, Closed, Fence, Node, Run, RunState
from pancode.errors import RefusedError
from tests.unit.pancode.control.world import Desk, Puppet, failed, offered


@pytest.fixture
def desk() -> Desk:
    return Desk()


def day(desk: Desk) -> Balance:
    return next(b for b in desk.rows(Balance) if b.scope.startswith("day:"))


def test_a_run_is_offered_run_settled_and_acknowledged(desk: Desk) -> None:
    node = Puppet(desk)
    node.breathe()
    run = desk.dispatch()
    desk.turn()
    order = node.claim()
    assert order is not None and order.identity.run == run.id
    assert desk.row(Run, run.id).reason == "offered to n1"
    node.start(order)
    desk.turn()
    assert desk.row(Run, run.id).state is RunState.RUNNING
    envelope = node.deliver(order)
    desk.turn()
    ended = desk.row(Run, run.id)
    assert (ended.state, ended.outcome) == (RunState.ENDED, Outcome.DONE)
    assert (day(desk).spent_usd, day(desk).held_usd) == (Decimal("0.10"), Decimal(0))
    (control,) = node.controls()
    assert isinstance(control.body, Acknowledge)
    countersigned = envelope.model_copy(
        update={"signatures": (*envelope.signatures, control.body.countersignature)}
    )
    assert desk.key.countersign(envelope) == countersigned
    desk.check_books()


def test_no_order_before_the_inventory(desk: Desk) -> None:
    node = Puppet(desk)
    desk.dispatch()
    node.breathe(inventory=False)
    assert node.claim() is None
    assert "has not asked" in desk.row(Run, "r-0001").reason
    node.breathe()
    assert node.claim() is not None


def test_never_more_orders_than_slots(desk: Desk) -> None:
    node = Puppet(desk, slots=2)
    for number in range(5):
        desk.dispatch(f"r-000{number}")
    node.breathe()
    orders = [node.claim() for _ in range(5)]
    assert sum(o is not None for o in orders) == 2
    assert desk.row(Run, "r-0004").reason == "n1 is busy, no free slot"


def test_of_a_crowd_it_is_said_now_and_then_why_it_waits(desk: Desk) -> None:
    """Who gets a free slot is decided at once, in the same order; the others are told within the second."""
    node = Puppet(desk, slots=1)
    node.breathe()
    desk.turn()
    for number in range(40):
        desk.dispatch(f"r-00{number:02}", usd="0.01")
    desk.turn(0)
    first = node.claim()
    assert first is not None and first.identity.run == "r-0000"
    late = desk.dispatch("r-0040", usd="0.01")
    node.start(first)
    node.deliver(first)
    desk.turn(0)
    second = node.claim()
    assert second is not None and second.identity.run == "r-0001"
    assert desk.row(Run, late.id).reason == "queued"
    desk.turn()
    assert desk.row(Run, late.id).reason == "n1 is busy, no free slot"


def test_a_slot_that_the_node_names_is_taken_even_if_we_forgot_it(desk: Desk) -> None:
    node = Puppet(desk, slots=1)
    node.breathe()
    desk.dispatch()
    desk.turn()
    order = node.claim()
    assert order is not None
    node.open = [order.identity]
    node.deliver(order)
    node.breathe()
    desk.dispatch("r-0002")
    desk.turn()
    assert node.claim() is None
    node.open = []
    node.breathe()
    assert node.claim() is not None


def test_a_slot_is_free_again_with_the_receipt_not_with_the_next_heartbeat(desk: Desk) -> None:
    node = Puppet(desk, slots=1)
    node.breathe()
    desk.dispatch()
    desk.turn()
    order = node.claim()
    assert order is not None
    node.open = [order.identity]
    node.breathe()
    node.deliver(order)
    desk.dispatch("r-0002")
    desk.turn()
    assert node.claim() is not None


def test_the_last_dollar_is_held_once() -> None:
    desk = Desk(ceiling="1.00")
    desk.dispatch("r-0001")
    with pytest.raises(RefusedError, match=r"spent: \$0.00, held: \$0.75, estimated next: \$0.75"):
        desk.dispatch("r-0002")
    assert desk.row(Run, "r-0002") is None
    desk.check_books()


def test_an_unknown_cost_leaves_the_hold_standing(desk: Desk) -> None:
    node, order = offered(desk)
    node.deliver(order, usage=Usage())
    desk.turn()
    assert (day(desk).held_usd, day(desk).unknown_runs) == (Decimal("0.75"), 1)
    desk.check_books()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"order": "1" * 64}, "order is"),
        ({"runtime": "claude"}, "runtime is"),
        ({"outcome": Outcome.TIMEOUT}, "with failure None"),
        ({"failure": FailureKind.WALL_LIMIT}, "does not go with"),
        ({"snapshot": "b" * 40}, "snapshot is"),
        ({"change": "change"}, "without a commit"),
    ],
)
def test_a_false_receipt_is_rejected(desk: Desk, changes: dict[str, object], why: str) -> None:
    node, order = offered(desk)
    node.deliver(order, **changes)
    desk.turn()
    run = desk.row(Run, "r-0001")
    assert (run.outcome, run.failure) == (Outcome.INFRA, FailureKind.RECEIPT_REJECTED)
    assert why in run.reason
    (control,) = node.controls()
    assert isinstance(control.body, Reject)
    assert day(desk).unknown_runs == 1
    desk.check_books()


def test_a_result_that_the_depot_refused_costs_the_result_and_not_the_receipt(desk: Desk) -> None:
    node, order = offered(desk)
    refused = failed(FailureKind.RESULT_REFUSED, Outcome.ERROR) | {"reason": "the result was not taken: fsck"}
    node.deliver(order, change="change", commit=None, **refused)
    desk.turn()
    run = desk.row(Run, "r-0001")
    assert (run.outcome, run.failure, run.reason) == (
        Outcome.ERROR,
        FailureKind.RESULT_REFUSED,
        "the result was not taken: fsck",
    )
    assert [type(c.body) for c in node.controls()] == [Acknowledge]
    assert (day(desk).spent_usd, day(desk).held_usd, day(desk).unknown_runs) == (
        Decimal("0.10"),
        Decimal(0),
        0,
    )
    desk.check_books()


def test_missing_bytes_are_asked_for_and_then_accepted(desk: Desk) -> None:
    node, order = offered(desk)
    desk.depot.missing_blobs = {"out"}
    blob = Blob(name="out", size=1, sha256="0" * 64)
    node.deliver(order, blobs=(blob,))
    desk.turn()
    (control,) = node.controls()
    assert isinstance(control.body, Resend) and control.body.missing == ("out",)
    desk.depot.missing_blobs = set()
    node.deliver(order, blobs=(blob,))
    desk.turn()
    assert desk.row(Run, "r-0001").outcome is Outcome.DONE


def test_the_same_receipt_twice_is_settled_once_and_answered_again(desk: Desk) -> None:
    node, order = offered(desk)
    envelope = node.deliver(order)
    desk.turn()
    node.uplink.send(envelope.model_dump_json())
    desk.turn(10_000)
    assert day(desk).spent_usd == Decimal("0.10")
    assert [type(c.body) for c in node.controls()] == [Acknowledge, Acknowledge]


def test_another_receipt_for_the_same_fence_is_refused(desk: Desk) -> None:
    node, order = offered(desk)
    node.deliver(order)
    desk.turn()
    node.deliver(order, reason="another story")
    desk.turn()
    assert [type(c.body) for c in node.controls()] == [Acknowledge, Reject]
    assert desk.row(Run, "r-0001").reason == "exit 0"
    assert any(a.what == "receipt rejected" for a in desk.rows(Audit))


def test_forged_words_change_nothing(desk: Desk) -> None:
    node, order = offered(desk)
    stranger = SigningKey(b"x" * 32)
    node.say(order.identity, Marked(mark=Mark.ACCEPTED), key=stranger)
    node.uplink.send(node.receipt(order).model_copy(update={"signatures": ()}).model_dump_json())
    node.uplink.send("{}")
    desk.turn()
    assert desk.row(Fence, "r-0001", 1).cursor == 0
    assert desk.row(Run, "r-0001").outcome is None
    codes = {a.detail["code"] for a in desk.rows(Audit) if a.domain == "trust"}
    assert codes == {"unknown_key", "unsigned", "malformed"}


def test_events_are_applied_in_order_once(desk: Desk) -> None:
    node, order = offered(desk)
    node.events[str(order.identity)] = 1
    node.say(order.identity, Marked(mark=Mark.PREPARED))
    desk.turn()
    assert desk.row(Fence, "r-0001", 1).cursor == 0
    node.events[str(order.identity)] = 0
    node.start(order)
    node.say(order.identity, Progress(input_tokens=5, output_tokens=1))
    desk.turn()
    assert desk.row(Fence, "r-0001", 1).cursor == 4
    assert desk.row(Run, "r-0001").state is RunState.RUNNING


def test_a_refused_order_is_bound_again_with_a_new_fence(desk: Desk) -> None:
    node, order = offered(desk)
    node.say(order.identity, Refused(why=OrderRefusal.TOO_LATE, detail="slow"))
    desk.turn()
    assert desk.row(Fence, "r-0001", 1).closed is Closed.REFUSED
    node.breathe()
    desk.turn(5_000)
    again = node.claim()
    assert again is not None and (again.identity.attempt, again.identity.fence) == (1, 2)
    desk.check_books()


def test_a_missing_runtime_on_the_only_node_is_waited_for(desk: Desk) -> None:
    node, order = offered(desk)
    node.say(order.identity, Refused(why=OrderRefusal.RUNTIME_MISSING, detail="no shell"))
    desk.turn()
    node.breathe()
    node.breathe()
    assert node.claim() is None
    assert desk.row(Run, "r-0001").reason == "n1 could not take it: no shell"
    desk.check_books()


def test_stop_while_waiting_is_over_at_once(desk: Desk) -> None:
    desk.dispatch()
    stopped = desk.plane.stop("r-0001", "by test")
    assert (stopped.outcome, day(desk).held_usd) == (Outcome.INTERRUPTED, Decimal(0))
    desk.check_books()


def test_stop_while_running_waits_for_the_node(desk: Desk) -> None:
    node, order = offered(desk)
    node.start(order)
    desk.turn()
    stopped = desk.plane.stop("r-0001", "enough")
    assert stopped.state is RunState.INTERRUPTING
    assert "not confirmed" in stopped.reason
    desk.turn()
    (control,) = node.controls()
    assert isinstance(control.body, StopControl)
    node.deliver(order, **failed(FailureKind.STOPPED, Outcome.INTERRUPTED))
    desk.turn()
    assert desk.row(Run, "r-0001").outcome is Outcome.INTERRUPTED


def test_an_offer_that_was_never_taken_is_freed_by_the_inventory_only(desk: Desk) -> None:
    node = Puppet(desk)
    node.breathe()
    desk.dispatch()
    desk.turn()
    for _ in range(30):
        node.breathe(inventory=False)
    assert desk.row(Fence, "r-0001", 1).closed is None
    node.breathe()
    assert desk.row(Fence, "r-0001", 1).closed is Closed.NEVER_ACCEPTED
    assert desk.row(Run, "r-0001").fence == 2


def test_a_silent_node_is_lost_only_after_waking_time(desk: Desk) -> None:
    node, order = offered(desk)
    node.start(order)
    desk.turn()
    desk.turn(3_600_000)
    view = desk.plane.core.view_of(desk.row(Node, "n1"))
    assert view.state is NodeState.ONLINE, "the coordinator slept for an hour: nobody is to blame"
    for _ in range(100):
        desk.turn(10_000)
    run = desk.row(Run, "r-0001")
    assert (run.outcome, day(desk).unknown_runs) == (Outcome.LOST, 1)
    assert run.reason == "n1 was not heard for the whole deadline"
    node.deliver(order)
    node.breathe()
    assert desk.row(Run, "r-0001").outcome is Outcome.DONE, "lost is replaced once, by the newest fence"
    assert (day(desk).spent_usd, day(desk).held_usd, day(desk).unknown_runs) == (
        Decimal("0.10"),
        Decimal(0),
        0,
    )
    desk.check_books()


def test_a_lost_reader_is_tried_elsewhere_and_the_older_fence_never_wins(desk: Desk) -> None:
    first, second = Puppet(desk, "n1"), Puppet(desk, "n2")
    first.breathe()
    desk.dispatch(read_only=True, told_only=True)
    desk.turn()
    order = first.claim()
    assert order is not None
    first.start(order)
    for _ in range(100):
        desk.turn(10_000)
    second.breathe()
    desk.turn()
    later = second.claim()
    assert later is not None and (later.identity.attempt, later.identity.fence) == (2, 2)
    first.deliver(order)
    desk.turn()
    assert desk.row(Run, "r-0001").outcome is None
    second.deliver(later)
    desk.turn()
    run = desk.row(Run, "r-0001")
    assert (run.outcome, run.result["node"]) == (Outcome.DONE, "n2")
    assert day(desk).spent_usd == Decimal("0.20")
    desk.check_books()


def test_a_node_is_not_drained_while_it_has_a_run_that_its_heartbeat_does_not_know_yet(desk: Desk) -> None:
    node = Puppet(desk)
    node.breathe()
    desk.dispatch(node=node.name)
    desk.turn()
    order = node.claim()
    assert order is not None
    node.start(order)
    desk.turn()
    desk.plane.drain(node.name, "new disk", "ana")

    def state() -> str:
        return query_fleet.fleet(desk.plane.core, query_fleet.Since(), {})["nodes"][0]["state"]

    assert state() == "draining"
    node.deliver(order)
    desk.turn()
    assert state() == "drained"
