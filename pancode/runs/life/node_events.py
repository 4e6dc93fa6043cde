"""Decides what changes after a report of a node: its events, its journal, or its silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from node_agent.wire import event
from node_agent.wire.control import Tombstone
from node_agent.wire.event import EventBody
from node_agent.wire.failure import ELSEWHERE, NODE_STATES, REBINDABLE, FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import MARKS as MARKS
from node_agent.wire.identity import Mark
from node_agent.wire.logs import STAGES, JobStage
from pancode.budget import books
from pancode.budget.books import BudgetScope
from pancode.kernel.records import Closed, EntryKind, Lease, LeaseState, Run, RunState, WaitReason
from pancode.kernel.values import replace
from pancode.runs.facts import Messages
from pancode.runs.life import approvals
from pancode.runs.life import waits as people
from pancode.runs.life.binding import handed_to, reserve_as_before
from pancode.runs.life.budget_requests import answer_budget_request, record_progress
from pancode.runs.life.case import MAX_BINDINGS, NOT_STARTED, PUBLISHING, close_lease, move_run
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.ends import end_unstarted, fail_attempt, give_back

_RANK = {mark.value: number for number, mark in enumerate(MARKS)}
_REBIND = frozenset({*REBINDABLE, *ELSEWHERE, JobRefusal.REVOKED})
"""Refusals after which another node may take the run; REVOKED comes from a node that is being removed."""
_COLLECTING = frozenset({Mark.EXITED, Mark.COMMITTED, *PUBLISHING})
_PAID = (EntryKind.SPEND, EntryKind.UNKNOWN)
_UNSTARTED = (Mark.HELD, Mark.ACCEPTED, Mark.PREPARED)
_NEVER_RAN = (Closed.REFUSED, Closed.REVOKED, Closed.NOT_NOW, Closed.NEVER_ACCEPTED)
_MOVING = (RunState.PENDING, RunState.RUNNING, RunState.COLLECTING)
_NOTHING = books.Spent(books.ZERO, source="settled")


@dataclass(frozen=True, slots=True)
class NodeReported(Signal):
    """An event reported by the lease's node."""

    seq: int
    body: EventBody
    at_ms: int
    """When the event happened, by the node's wall clock."""
    budget_scopes: Sequence[BudgetScope] = ()
    """The budget scopes of the attempt, if it asks for a larger reservation."""

    def apply(self, made: Changes) -> Changes:
        """Process the lease's next event; an event with a number out of sequence changes nothing."""
        body = self.body
        if self.seq != made.lease.cursor + 1:
            return made
        made = _passed_over(made.put(replace(made.lease, cursor=self.seq)), body)
        if made.lease.state is LeaseState.CLOSED:
            return _take_late(made, body)
        return _in_time(made, body, self)


def _passed_over(made: Changes, body: event.EventBody) -> Changes:
    """If the node's refusal requires it, offer the node this run, or any run, only after some time."""
    if not isinstance(body, event.Refused) or body.why not in {*NODE_STATES, *ELSEWHERE}:
        return made
    return made.pass_over(None if body.why in NODE_STATES else made.run.id, body.why, body.detail)


def _in_time(made: Changes, body: EventBody, told: NodeReported) -> Changes:
    match body:
        case event.Marked():
            return _take_mark(made, body, told.at_ms)
        case event.Refused():
            return _take_refusal(made, body)
        case event.Revoked():
            return _take_revocation(made, body)
        case event.Interrupting():
            return _take_interrupting(made, body)
        case event.Progress():
            return record_progress(made, body)
        case event.BudgetAsked():
            return answer_budget_request(made, body, told.budget_scopes)
        case event.Finding():
            return _note_remark(made, body.level, body.text)
        case event.MessagesHeard():
            return people.record_delivered(made, body.numbers)
        case event.UserAsked():
            return approvals.request_approval(made, body)
        case event.FleetAsked():
            return replace(made, left=(*made.left, body))
        case event.Turned(turn=turn):
            return people.record_turn(made, turn, told.at_ms) if made.case.newest else made
        case _:
            assert_never(body)


def _note_remark(made: Changes, verdict: str, remark: str) -> Changes:
    return made.tell("node", made.lease.node, verdict, remark) if remark else made


def _take_late(made: Changes, body: event.EventBody) -> Changes:
    """Process an event of a closed lease. A lost job's call is denied; a job that never ran cost nothing."""
    lease, attempt, case = made.lease, made.attempt, made.case
    if lease.closed is Closed.LOST and isinstance(body, event.UserAsked):
        return people.deny_call(made, body.asked, people.LOST)
    if lease.closed is not Closed.LOST or not isinstance(body, event.Refused | event.Revoked):
        return made
    made = made.put(replace(lease, closed=Closed.REVOKED))
    made = made.book(books.settle_unknown(case.entries, case.account, _NOTHING, case.now.stamp))
    made = made.tell("settle", lease.node, "never started", "the lost job was never started on this node")
    return made.put(replace(attempt, usage=NOT_STARTED)) if attempt.outcome is Outcome.LOST else made


def _take_mark(made: Changes, body: event.Marked, at_ms: int) -> Changes:
    # `refused` and `rejected` are reported by events of their own, and not by marks.
    rank = _RANK.get(body.mark)
    if rank is None or rank <= _RANK.get(made.lease.mark, -1):
        return made
    state = LeaseState.ACCEPTED if body.mark in _UNSTARTED else LeaseState.RUNNING
    lease = replace(made.lease, mark=body.mark.value, state=state)
    made = made.put(lease)
    if body.mark in STAGES:
        made = made.stage(STAGES[body.mark])
    if not made.case.newest or made.run.state not in _MOVING:
        return made
    made = made.put(_advance_run(made.run, lease, body.mark, at_ms))
    made = people.calls_over(made) if body.mark in _COLLECTING else made
    return people.deliver_messages(made) if body.mark is Mark.SPAWNED and Messages.of(made.run).told else made


def _advance_run(run: Run, lease: Lease, mark: Mark, at_ms: int) -> Run:
    if mark is Mark.HELD:
        return replace(run, reason=handed_to(lease.node), waits=WaitReason.HANDED)
    reason = f"{mark} on {lease.node}"
    if mark in _COLLECTING:
        run = move_run(run, RunState.RUNNING) if run.state is RunState.PENDING else run
        return replace(move_run(run, RunState.COLLECTING), reason=reason, waits=None)
    started = at_ms if mark is Mark.SPAWNED and run.started_ms is None else run.started_ms
    return replace(move_run(run, RunState.RUNNING), reason=reason, waits=None, started_ms=started)


def _take_interrupting(made: Changes, body: event.Interrupting) -> Changes:
    why = body.reason or f"{made.lease.node} ends it"
    made = _note_remark(made, "interrupting", why)
    if not made.case.newest or made.run.state not in _MOVING:
        return made
    made = people.calls_over(made)
    return made.put(replace(move_run(made.run, RunState.INTERRUPTING), reason=why, waits=None))


def _take_refusal(made: Changes, body: event.Refused) -> Changes:
    waits, cause = body.why in NODE_STATES, made.run.stop_asked
    remark = f"{made.lease.node} refused the job: {body.why} ({body.detail})"
    came_back = body.why is JobRefusal.TAKEN_BACK
    made = _close_with(made, Closed.NOT_NOW if waits or came_back else Closed.REFUSED, "refused", remark)
    if _is_moot(made):
        return _release_moot(made, remark)
    if cause is not None or body.why in (JobRefusal.STOPPED, JobRefusal.TOMBSTONED):
        return end_unstarted(made, FailureKind.STOPPED, cause or remark, remark)
    if came_back:  # The coordinator requested the end, so there is no pause, and no retry is counted.
        return _back_to_queue(made, remark)
    if waits or (body.why in _REBIND and made.case.came_back + 1 < MAX_BINDINGS):
        made = _back_to_queue(made, remark)
        return made.put(replace(made.run, retry_at_ms=made.now.ms + made.now.refused_pause_ms))
    missing = body.why is JobRefusal.RUNTIME_MISSING
    return end_unstarted(made, FailureKind.RUNTIME_MISSING if missing else FailureKind.NODE_INTERNAL, remark)


def _take_revocation(made: Changes, body: event.Revoked) -> Changes:
    remark = f"{made.lease.node} never started the job: {body.reason}"
    made = _close_with(made, Closed.REVOKED, "revoked", remark)
    if _is_moot(made):
        return _release_moot(made, remark)
    return end_unstarted(made, FailureKind.STOPPED, body.reason, remark)


@dataclass(frozen=True, slots=True)
class NotTaken(Signal):
    """Signal that the node's journal, after start-by, does not name the lease, which will never run there."""

    def apply(self, made: Changes) -> Changes:
        """Close the lease, and let the run be bound again."""
        remark = f"{made.lease.node} never took the job; the run may be bound again"
        made = _close_with(made, Closed.NEVER_ACCEPTED, "never accepted", remark)
        if _is_moot(made):
            return _release_moot(made, remark)
        if made.run.stop_asked is not None:
            return end_unstarted(made, FailureKind.STOPPED, made.run.stop_asked, remark)
        if made.case.came_back + 1 >= MAX_BINDINGS:
            return end_unstarted(made, FailureKind.NODE_INTERNAL, remark)
        return _back_to_queue(made, remark)


def _close_with(made: Changes, how: Closed, verdict: str, remark: str) -> Changes:
    made = made.put(close_lease(made.lease, how, made.now.ms)).stage(JobStage.CLOSED, str(how))
    return _note_remark(made, verdict, remark)


def _is_moot(made: Changes) -> bool:
    """Whether the run no longer depends on this job, as it has ended or a newer lease replaced this one."""
    return not made.case.newest or made.run.state is RunState.ENDED


def _release_moot(made: Changes, note: str) -> Changes:
    """Release what a job reserved that the run no longer depends on: only on its node, if another job of its
    attempt has the rest."""
    lease = made.lease
    others = (
        one for one in made.case.leases.values() if one.attempt == lease.attempt and one.lease != lease.lease
    )
    # A restored ledger reserves again for a job that it lacked, even if the run has ended since.
    is_last = made.run.state is RunState.ENDED and all(one.closed in _NEVER_RAN for one in others)
    return give_back(made, note, None if is_last else lease.node)


def _back_to_queue(made: Changes, reason: str) -> Changes:
    """Let the attempt wait for a node again; if an older job of it, which a restored ledger lacked, was paid
    since, the run waits as its next attempt, which has its own reservation."""
    paid = any(one.attempt == made.run.attempt and one.kind in _PAID for one in made.case.entries)
    made = give_back(made, reason, made.lease.node)
    made = fail_attempt(made, FailureKind.STOPPED, reason) if paid else made
    run = replace(move_run(made.run, RunState.PENDING), attempt=made.run.attempt + paid)
    made = made.put(replace(run, reason=reason, waits=WaitReason.RETURNED))
    return reserve_as_before(made, reason) if made.lease.ahead else made


@dataclass(frozen=True, slots=True)
class Doubted(Signal):
    """Signal that the node's journal no longer has a job that the node had accepted."""

    why: str

    def apply(self, made: Changes) -> Changes:
        """Record that it is unknown whether the run still works on its node."""
        if made.run.reason == self.why or made.run.state is RunState.ENDED:
            return made
        made = made.put(replace(made.run, reason=self.why, waits=WaitReason.FORGOTTEN))
        return made.tell("node", made.lease.node, "unknown", self.why)


@dataclass(frozen=True, slots=True)
class NodeSilent(Signal):
    """Signal that the lease's node is silent (`back`: it is heard again)."""

    back: bool = False

    def apply(self, made: Changes) -> Changes:
        """Record in the run's timeline that its node is silent, or is heard again."""
        if self.back:
            return made.tell("node", made.lease.node, "heard again", "its delayed messages arrive now")
        begun = made.lease.state is LeaseState.RUNNING
        knows = "the run continues on the node" if begun else "the run had not begun on the node"
        return made.tell("node", made.lease.node, "not heard", f"{knows}, as far as is known")


@dataclass(frozen=True, slots=True)
class Quarantined(Signal):
    """Signal that the lease's node was quarantined."""

    why: str

    def apply(self, made: Changes) -> Changes:
        """Record that the node is quarantined: an active run continues, a pending one waits until it ends."""
        node = made.lease.node
        made = made.tell("node", node, "quarantined", f"{node} is quarantined: {self.why}")
        if made.run.state is not RunState.PENDING:
            return made
        words = f"{'handed' if made.lease.ahead else 'offered'} to {node}, which is quarantined: {self.why}"
        return made.put(replace(made.run, reason=words, waits=WaitReason.QUARANTINED))


@dataclass(frozen=True, slots=True)
class UnknownLease(Signal):
    """Signal that a node names a lease of this run that the ledger lacks because it was restored."""

    node: str
    number: int

    def apply(self, made: Changes) -> Changes:
        """Send the node a tombstone, which ends a lease that this restored ledger lacks."""
        body = Tombstone(run=made.run.id, up_to_lease=self.number, reason="the ledger was restored")
        remark = f"the node runs lease {self.number}, which the ledger does not have"
        return made.send(self.node, body).tell("node", self.node, "unknown", remark)
