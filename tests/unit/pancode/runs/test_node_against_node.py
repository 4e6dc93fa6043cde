"""What an enrolled node says of another node's leases: nothing of it counts, however rightly it is signed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.event import EventBody, Interrupting, Marked, Progress, Refused, Revoked
from node_agent.wire.failure import JobRefusal, Outcome
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.node import JournalEntry
from pancode.kernel.records import Attempt, BookEntry, Closed, EntryKind, Lease, Run
from tests.unit.pancode.runs.world import Desk, Fleet

LIES: tuple[EventBody, ...] = (
    Refused(why=JobRefusal.CEILING, detail="lie"),
    Revoked(reason="lie"),
    Interrupting(reason="lie"),
    Marked(mark=Mark.EXITED),
    Progress(cost_usd=None, input_tokens=9_000, output_tokens=9_000),
)


def on_honest(fleet: Fleet, starts: bool = True) -> Job:
    """A run that the honest node has; the liar knows its id, and how far its events have come."""
    fleet.coordinator.dispatch("r-good", node="good")
    fleet.good.breathe()
    due = fleet.good.take()
    if starts:
        fleet.good.start(due)
        fleet.coordinator.turn()
    return due


def state(fleet: Fleet, who: AttemptId) -> tuple[Any, ...]:
    row = fleet.coordinator.row
    return row(Lease, who.run, who.lease), row(Run, who.run), row(Attempt, who.run, who.attempt)


@pytest.mark.parametrize("starts", [True, False], ids=["running", "offered"])
@pytest.mark.parametrize("body", LIES, ids=lambda body: body.kind)
def test_an_event_of_anothers_lease(body: EventBody, starts: bool) -> None:
    fleet = Fleet(Desk())
    due = on_honest(fleet, starts)
    before = state(fleet, due.identity)
    fleet.bad.events[str(due.identity)] = before[0].cursor
    fleet.bad.say(due.identity, body)
    fleet.coordinator.turn()
    assert state(fleet, due.identity) == before
    assert [(a.what, a.detail["node"]) for a in fleet.alarms()] == [
        ("dropped events about another node's lease", "bad")
    ]
    if not starts:
        fleet.good.start(due)
    fleet.good.deliver(due, exit_code=0)
    fleet.coordinator.turn()
    assert fleet.coordinator.row(Run, "r-good").outcome is Outcome.DONE


def test_a_refusal_whose_number_a_lie_has_used_up_frees_the_job() -> None:
    """The run continues elsewhere, as the node's own journal says that it refused it."""
    fleet = Fleet(Desk())
    due = on_honest(fleet, starts=False)
    digest = fleet.coordinator.row(Lease, "r-good", due.identity.lease).digest
    fleet.good.say(due.identity, Marked(mark=Mark.REFUSED))
    entry = JournalEntry(identity=due.identity, job=digest, mark=Mark.REFUSED, last_event=1)
    fleet.good.journal = [entry]
    for _ in range(fleet.coordinator.rules.start_by_ms // 5_000 + 3):
        fleet.good.breathe()
    assert fleet.coordinator.row(Lease, "r-good", due.identity.lease).closed is Closed.NEVER_ACCEPTED


def test_a_node_that_gives_no_reason_for_its_end_is_named_as_the_reason() -> None:
    fleet = Fleet(Desk())
    due = on_honest(fleet)
    fleet.good.say(due.identity, Interrupting(reason=""))
    fleet.coordinator.turn()
    assert fleet.coordinator.row(Run, "r-good").reason == "good ends it"


def test_an_attempt_keeps_how_it_ended_when_a_second_node_ran_it_too() -> None:
    """The first had refused it, and has forgotten that; what it used is booked all the same."""
    fleet = Fleet(Desk())
    fleet.coordinator.dispatch("r-good", require={"os": "linux"})
    for _ in range(2):
        fleet.breathe()
    first, second = fleet.bad, fleet.good
    due = first.claim()
    if due is None:
        first, second, due = second, first, second.claim()
    assert due is not None
    first.say(due.identity, Refused(why=JobRefusal.DISK_FULL, detail="full"))
    for _ in range(3):
        fleet.breathe()
    again = second.take()
    assert (again.identity.attempt, again.identity.lease) == (1, 2)
    second.carry_out(again, exit_code=0)
    first.deliver(due, exit_code=0)
    fleet.coordinator.turn()
    attempt = fleet.coordinator.row(Attempt, "r-good", 1)
    assert (attempt.outcome, attempt.usage["cost_usd"]) == (Outcome.DONE, "0.10")
    spent = [
        e.usd for e in fleet.coordinator.rows(BookEntry, scope="agent:builder") if e.kind is EntryKind.SPEND
    ]
    assert spent == [Decimal("0.10"), Decimal("0.10")]
    fleet.coordinator.check_books()
