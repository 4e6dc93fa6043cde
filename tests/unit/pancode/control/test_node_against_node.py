"""What an enrolled node says of another node's fences: nothing of it counts, however rightly it is signed."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.control import Tombstone
from node_agent.wire.event import EventBody, Interrupting, Marked, Progress, Refused, Revoked
from node_agent.wire.failure import OrderRefusal, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.inventory import JournalEntry
from node_agent.wire.marks import Mark
from node_agent.wire.order import Order
from pancode.control.work import unit_of_work
from pancode.domain.life.signals import Rejected
from pancode.domain.records import Attempt, Closed, Fence, Node, Run
from tests.unit.pancode.control.test_hostile_node import Fleet

LIES: tuple[EventBody, ...] = (
    Refused(why=OrderRefusal.CEILING, detail="lie"),
    Revoked(reason="lie"),
    Interrupting(reason="lie"),
    Marked(mark=Mark.EXITED),
    Progress(cost_usd=None, input_tokens=9_000, output_tokens=9_000),
)


def on_honest(fleet: Fleet, starts: bool = True) -> Order:
    """A run that the honest node has; the liar knows its id, and how far its events have come."""
    fleet.desk.dispatch("r-good", node="honest")
    fleet.honest.breathe()
    due = fleet.honest.claim()
    assert due is not None
    if starts:
        fleet.honest.start(due)
        fleet.desk.turn()
    return due


def state(fleet: Fleet, who: AttemptId) -> tuple[Any, ...]:
    row = fleet.desk.row
    return row(Fence, who.run, who.fence), row(Run, who.run), row(Attempt, who.run, who.attempt)


@pytest.mark.parametrize("starts", [True, False], ids=["running", "offered"])
@pytest.mark.parametrize("body", LIES, ids=lambda body: body.kind)
def test_an_event_of_anothers_fence(body: EventBody, starts: bool) -> None:
    fleet = Fleet()
    due = on_honest(fleet, starts)
    before = state(fleet, due.identity)
    fleet.liar.events[str(due.identity)] = before[0].cursor
    fleet.liar.say(due.identity, body)
    fleet.desk.turn()
    assert state(fleet, due.identity) == before
    if not starts:
        fleet.honest.start(due)
    fleet.honest.deliver(due, exit_code=0)
    fleet.desk.turn()
    assert fleet.desk.row(Run, "r-good").outcome is Outcome.DONE


def test_a_rejected_receipt_ends_no_fence_of_another() -> None:
    """The rulings let none come so far; this holds should one of them be wrong."""
    fleet = Fleet()
    due = on_honest(fleet)
    before = state(fleet, due.identity)
    core, liar = fleet.desk.plane.core, fleet.desk.row(Node, "liar")
    fence = fleet.desk.row(Fence, "r-good", 1)
    with unit_of_work(core) as work:
        work.signal_fence(fence, Rejected(liar.name, liar.tag, "lie"))
    assert state(fleet, due.identity) == before


def test_a_second_false_receipt_ends_nothing_that_was_settled() -> None:
    fleet = Fleet()
    due = on_honest(fleet)
    fleet.honest.deliver(due, exit_code=0)
    fleet.desk.turn()
    before = state(fleet, due.identity)
    fleet.honest.deliver(due, exit_code=1, reason="exit 1")
    fleet.desk.turn()
    assert state(fleet, due.identity) == before
    fleet.desk.check_books()


def test_what_was_lost_is_ended_where_it_may_still_run() -> None:
    fleet = Fleet()
    fleet.desk.dispatch("r-good", read_only=True, require={"os": "linux"})
    for _ in range(2):
        fleet.breathe()
    first, second = fleet.liar, fleet.honest
    due = first.claim()
    if due is None:
        first, second, due = second, first, second.claim()
    assert due is not None
    first.start(due)
    lost_ms = fleet.desk.rules.deadlines.lost_ms
    for _ in range(lost_ms // 5_000 + 10):
        second.breathe()
    assert fleet.desk.row(Fence, "r-good", due.identity.fence).closed is Closed.LOST
    again = second.claim()
    assert again is not None and again.identity.attempt == 2
    told = [c.body for c in first.controls() if isinstance(c.body, Tombstone)]
    assert [(one.run, one.up_to_fence) for one in told] == [("r-good", due.identity.fence)]


def test_a_journal_that_began_anew_and_refuses_the_order_has_forgotten_it() -> None:
    """Its disk was emptied while the run went on, and the bus delivered the order once more."""
    fleet = Fleet()
    due = on_honest(fleet)
    digest = fleet.desk.row(Fence, "r-good", due.identity.fence).digest
    entry = JournalEntry(identity=due.identity, order=digest, mark=Mark.REFUSED, last_event=1)
    fleet.honest.journal = [entry]
    fleet.honest.events[str(due.identity)] = 0
    fleet.honest.say(due.identity, Refused(why=OrderRefusal.STOPPED, detail="again"))
    lost_ms = fleet.desk.rules.deadlines.lost_ms
    for _ in range((lost_ms + fleet.desk.rules.start_by_ms) // 5_000 + 10):
        fleet.honest.breathe()
    assert fleet.desk.row(Fence, "r-good", due.identity.fence).closed is not None
