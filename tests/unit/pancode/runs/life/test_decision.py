"""What each signal changes in the life of a run: one table, and what must hold for every row of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.control import Acknowledge, StopControl, Tombstone
from node_agent.wire.event import Interrupting, Marked, Refused, Revoked
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.receipt import Usage
from pancode.budget.books import BudgetScope, Ceilings
from pancode.kernel.errors import RefusedError
from pancode.kernel.records import ActionKind, Balance, Closed, EntryKind, RunState, WaitReason
from pancode.landing.rules import CalledOff, LandingOver
from pancode.runs.life.binding import Admitted, Due
from pancode.runs.life.case import MAX_BINDINGS, RunCase
from pancode.runs.life.changes import Changes
from pancode.runs.life.ends import NOTHING_LEFT, GivenUp, Lost, Stop, Unbindable
from pancode.runs.life.node_events import Doubted, NodeReported, NotTaken, Quarantined, UnknownLease
from pancode.runs.receipts.rules import Rejected
from tests.unit.pancode.runs.life.cases import (
    TAG,
    admitted,
    after,
    budget_scopes,
    decide,
    offered,
    receipt,
    said,
)

LOST = Lost("n1 was not heard")
FAILED = {"outcome": Outcome.ERROR, "failure": FailureKind.AGENT_FAILED, "reason": "exit 1"}
UNKNOWN = {"usage": Usage(cost_usd=None, cost_source="unknown")}


def _running(**run: object) -> RunCase:
    return said(offered(admitted(**run)), Marked(mark=Mark.ACCEPTED), Marked(mark=Mark.SPAWNED)).case


def _waiting_again(**run: object) -> RunCase:
    """Its second attempt waits, as the first one was lost."""
    return after(offered(admitted(read_only=True, **run)), LOST)


@dataclass(frozen=True)
class Row:
    """A decision, and the run, the lease, the books, and the messages after it."""

    name: str
    made: Callable[[], Changes]
    state: RunState
    outcome: Outcome | None = None
    closed: Closed | None = None
    held: str = "1"
    sent: tuple[type, ...] = ()
    waits: WaitReason | None = None
    attempt: int = 1


def _unchanged(case: RunCase) -> Changes:
    return Changes(case, case)


def _refused(why: JobRefusal) -> Callable[[], Changes]:
    return lambda: said(offered(admitted()), Refused(why=why, detail="x"))


PENDING, ENDED = RunState.PENDING, RunState.ENDED
ROWS = (
    Row("admitted", lambda: _unchanged(admitted()), PENDING, waits=WaitReason.QUEUED),
    Row("bound", lambda: _unchanged(offered(admitted())), PENDING),
    Row("started", lambda: _unchanged(_running()), RunState.RUNNING),
    Row(
        "exited",
        lambda: said(_running(), Marked(mark=Mark.EXITED)),
        RunState.COLLECTING,
    ),
    Row(
        "interrupting",
        lambda: said(_running(), Interrupting(reason="idle")),
        RunState.INTERRUPTING,
    ),
    Row(
        "refused for another node",
        _refused(JobRefusal.CEILING),
        PENDING,
        closed=Closed.REFUSED,
        waits=WaitReason.RETURNED,
    ),
    Row(
        "refused for the node's state",
        _refused(JobRefusal.DRAINING),
        PENDING,
        closed=Closed.NOT_NOW,
        waits=WaitReason.RETURNED,
    ),
    Row(
        "refused as stopped",
        _refused(JobRefusal.STOPPED),
        ENDED,
        Outcome.INTERRUPTED,
        Closed.REFUSED,
        held="0",
    ),
    Row(
        "revoked",
        lambda: said(offered(admitted()), Revoked(reason="stop")),
        ENDED,
        Outcome.INTERRUPTED,
        Closed.REVOKED,
        held="0",
    ),
    Row(
        "never taken",
        lambda: decide(offered(admitted()), NotTaken()),
        PENDING,
        closed=Closed.NEVER_ACCEPTED,
        waits=WaitReason.RETURNED,
    ),
    Row(
        "never taken, and a stop was asked for",
        lambda: decide(offered(admitted()), Stop("enough"), NotTaken()),
        ENDED,
        Outcome.INTERRUPTED,
        Closed.NEVER_ACCEPTED,
        held="0",
        sent=(StopControl,),
    ),
    Row(
        "lost",
        lambda: decide(_running(), LOST),
        ENDED,
        Outcome.LOST,
        Closed.LOST,
    ),
    Row(
        "lost, it only reads",
        lambda: decide(_running(read_only=True), LOST),
        PENDING,
        closed=Closed.LOST,
        waits=WaitReason.RETRY,
        attempt=2,
    ),
    Row(
        "stopped while it waits",
        lambda: decide(admitted(), Stop("enough")),
        ENDED,
        Outcome.INTERRUPTED,
        held="0",
    ),
    Row(
        "stopped while it runs",
        lambda: decide(_running(), Stop("enough")),
        RunState.INTERRUPTING,
        sent=(StopControl,),
    ),
    Row(
        "stopped after it was lost",
        lambda: decide(after(_running(), LOST), Stop("enough")),
        ENDED,
        Outcome.LOST,
        Closed.LOST,
        sent=(StopControl,),
    ),
    Row(
        "no job can be made",
        lambda: decide(admitted(), Unbindable("odd")),
        ENDED,
        Outcome.INFRA,
        held="0",
    ),
    Row(
        "a receipt",
        lambda: decide(_running(), receipt(_running())),
        ENDED,
        Outcome.DONE,
        Closed.RECEIPT,
        held="0",
        sent=(Acknowledge,),
    ),
    Row(
        "a receipt of unknown cost",
        lambda: decide(_running(), receipt(_running(), **UNKNOWN)),
        ENDED,
        Outcome.DONE,
        Closed.RECEIPT,
        sent=(Acknowledge,),
    ),
    Row(
        "a receipt of a failure that may be tried again",
        lambda: decide(_running(max_attempts=2), receipt(_running(), **FAILED)),
        PENDING,
        None,
        Closed.RECEIPT,
        held="0",
        sent=(Acknowledge,),
        waits=WaitReason.RETRY,
        attempt=2,
    ),
    Row(
        "a receipt after it was lost",
        lambda: decide(after(_running(), LOST), receipt(_running())),
        ENDED,
        Outcome.DONE,
        Closed.RECEIPT,
        held="0",
        sent=(Acknowledge,),
    ),
    Row(
        "a receipt while the next attempt waits",
        lambda: decide(_waiting_again(), receipt(_running())),
        ENDED,
        Outcome.DONE,
        Closed.RECEIPT,
        held="0",
        sent=(Acknowledge,),
    ),
    Row(
        "a false receipt",
        lambda: decide(_running(), Rejected("n1", TAG, "lie")),
        ENDED,
        Outcome.INFRA,
        Closed.RECEIPT,
    ),
    Row(
        "a false receipt of another node",
        lambda: decide(_running(), Rejected("n2", "bbbbbbbbbb", "lie")),
        RunState.RUNNING,
    ),
    Row(
        "given up",
        lambda: decide(after(_running(), LOST), GivenUp("r-0002")),
        ENDED,
        Outcome.LOST,
        Closed.LOST,
        sent=(Tombstone,),
    ),
    Row(
        "given up, then a receipt",
        lambda: decide(after(_running(), LOST, GivenUp("r-0002")), receipt(_running())),
        ENDED,
        Outcome.LOST,
        Closed.RECEIPT,
        held="0",
        sent=(Acknowledge,),
    ),
    Row(
        "forgotten by its node",
        lambda: decide(_running(), Doubted("who?")),
        RunState.RUNNING,
        waits=WaitReason.FORGOTTEN,
    ),
    Row(
        "its node is quarantined",
        lambda: decide(offered(admitted()), Quarantined("full")),
        PENDING,
        waits=WaitReason.QUARANTINED,
    ),
    Row(
        "restored",
        lambda: decide(admitted(), UnknownLease("n1", 7)),
        PENDING,
        sent=(Tombstone,),
        waits=WaitReason.QUEUED,
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_signal_changes_this_and_no_more(row: Row) -> None:
    made = row.made()
    run, case = made.run, made.case
    assert (run.state, run.outcome, run.waits, run.attempt) == (
        row.state,
        row.outcome,
        row.waits,
        row.attempt,
    )
    assert (case.lease.closed if case.about else None) is row.closed
    assert held_by(case) == Decimal(row.held)
    assert tuple(type(message.body) for message in made.controls) == row.sent


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_decision_can_be_told(row: Row) -> None:
    """Who ends says how, who waits says why; the same case gives the same changes."""
    made = row.made()
    run = made.run
    assert bool(run.reason)
    assert (run.outcome is not None) == (run.state is ENDED)
    attempt = made.attempt
    if run.state is ENDED and run.outcome is not Outcome.LOST:
        assert (attempt.outcome, attempt.finished_ms) == (run.outcome, made.now.ms)
    again = row.made()
    assert (again.run, again.timeline, again.controls) == (made.run, made.timeline, made.controls)


def held_by(case: RunCase) -> Decimal:
    """In the scope of the day."""
    mine = [entry for entry in case.entries if entry.scope.startswith("day:")]
    signs = {EntryKind.RESERVE: 1, EntryKind.RELEASE: -1}
    return sum((signs.get(entry.kind, 0) * entry.usd for entry in mine), Decimal(0))


def test_an_admission_without_room_is_refused_with_the_numbers() -> None:
    case = admitted()
    fresh = RunCase(case.run, {}, {}, (), case.now)
    with pytest.raises(RefusedError, match="estimated next: \\$1.00, ceiling: \\$0.50"):
        decide(fresh, Admitted(budget_scopes("0.5")))


def test_a_later_attempt_waits_for_the_budget_and_says_so_once() -> None:
    case = _waiting_again()
    case = RunCase(case.run, case.attempts, case.leases, case.entries, case.now)
    made = decide(case, Due(budget_scopes("0.5")), Due(budget_scopes("0.5")))
    assert made.run.waits is WaitReason.BUDGET and len(made.timeline) == 1 and not made.booked


@pytest.mark.parametrize(
    ("spent", "held", "outcome"), [("1.5", "0", Outcome.BUDGET_EXCEEDED), ("0.5", "1.0", None)]
)
def test_a_later_attempt_waits_for_what_its_workflow_holds_and_not_for_what_it_has_spent(
    spent: str, held: str, outcome: Outcome | None
) -> None:
    case = _waiting_again(workflow="w-1")
    balance = Balance("workflow:w-1", spent_usd=Decimal(spent), reserved_usd=Decimal(held))
    made = decide(case, Due([BudgetScope(balance, Ceilings(Decimal(2)))]))
    assert made.run.outcome is outcome
    if outcome is None:
        assert made.run.waits is WaitReason.BUDGET
    else:
        assert made.run.reason.startswith("the budget of its workflow has no room for another attempt")
        assert made.run.failure is FailureKind.USD_LIMIT and made.run.state is ENDED


def test_a_later_attempt_of_which_nothing_is_left_ends() -> None:
    limits = {"wall_ms": 1, "idle_ms": 1, "output_bytes": 1, "usd": "0.10"}
    failed = after(_running(max_attempts=3, limits=limits), receipt(_running(), **FAILED))
    assert (failed.run.outcome, failed.run.attempt) == (Outcome.ERROR, 1)
    assert not [f for f in failed.leases.values() if f.closed is None]


def test_what_is_used_up_meanwhile_ends_the_attempt_that_waits() -> None:
    limits = {"wall_ms": 1, "idle_ms": 1, "output_bytes": 1, "usd": "1.50"}
    case = _waiting_again(limits=limits)
    ours: dict[str, Any] = {
        "outcome": Outcome.INFRA,
        "failure": FailureKind.NODE_REBOOTED,
        "reason": "rebooted",
    }
    ours["usage"] = Usage(cost_usd=Decimal(2), cost_source="reported")
    late = decide(case, receipt(_running(), **ours)).case  # it had failed: the second try stays
    assert (late.run.attempt, late.run.state) == (2, PENDING)
    made = decide(RunCase(late.run, late.attempts, late.leases, late.entries, late.now), Due(budget_scopes()))
    assert (made.run.outcome, made.run.reason) == (Outcome.BUDGET_EXCEEDED, NOTHING_LEFT)


def test_a_job_that_comes_back_too_often_ends_its_run() -> None:
    case = admitted()
    for number in range(1, MAX_BINDINGS + 1):
        assert case.run.outcome is None, number
        case = after(offered(case), NotTaken())
    assert (case.run.outcome, case.run.failure) == (Outcome.INFRA, FailureKind.NODE_INTERNAL)


def test_events_are_applied_once_and_in_order() -> None:
    case = offered(admitted())
    once = said(case, Marked(mark=Mark.ACCEPTED)).case
    again = decide(
        once,
        NodeReported(1, Marked(mark=Mark.SPAWNED), 0),
        NodeReported(3, Marked(mark=Mark.SPAWNED), 0),
    )
    assert again.case == once and not again.changed and not again.new


def _done(**changes: Any) -> Changes:
    """Its change is whole, and was to be landed."""
    case = _running(land=True)
    return decide(case, *changes.pop("before", ()), receipt(case, commit="c" * 40, change="change"))


def test_what_is_done_and_is_to_be_landed_waits_for_it() -> None:
    made = _done()
    assert [(a.kind, a.run) for a in made.case.actions] == [(ActionKind.LAND, "r-0001")] and made.new
    over = decide(made.case, LandingOver({"status": "landed", "commit": "c" * 40}))
    assert over.gone == list(made.case.actions) and over.run.landing["status"] == "landed"


def test_a_stop_calls_a_landing_off_before_and_after_the_work() -> None:
    before = _done(before=(Stop("wrong"),))
    after_ = decide(_done().case, Stop("wrong"))
    for made in (before, after_):
        assert not made.case.actions and made.run.landing["status"] == "called off"
    again = decide(after_.case, Stop("again"), CalledOff("again"))
    assert again.case == after_.case and not again.timeline
