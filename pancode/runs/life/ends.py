"""How an attempt and its run end (not started, lost, stopped, given up), and how the next attempt begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from node_agent.wire.control import StopControl as StopJob
from node_agent.wire.control import Tombstone
from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.logs import JobStage
from pancode.budget import books
from pancode.kernel.records import ActionKind, Closed, RunState, WaitReason
from pancode.kernel.values import replace
from pancode.runs.facts import Messages
from pancode.runs.life.case import NOT_STARTED, close_lease, is_free, move_run
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.conversation import can_continue_alone
from pancode.runs.life.jobs import identity_of
from pancode.runs.life.retries import Retry, after_failure, pause_ms, with_what_was_left
from pancode.runs.life.waits import calls_lost, calls_over, report_undelivered

NOTHING_LEFT = "the run's budget is used up"
GIVEN_UP = "given_up_for"
"""The key, in a lost run's result, of the run that replaced it. From then on, the lost run's receipt counts
only as evidence and for its cost."""


@dataclass(frozen=True, slots=True)
class LandingDue(Signal):
    """The end of larger work, after which the change in the run's result is landed automatically."""

    def apply(self, made: Changes) -> Changes:
        """Have the change landed as `--land` of a dispatch does. Idempotent."""
        run = made.run
        return made if run.land or run.landed is not None else made.put(replace(run, land=True))


def end_attempt(made: Changes, outcome: Outcome, failure: FailureKind | None, why: str) -> Changes:
    ended = replace(made.attempt, outcome=outcome, failure=failure, reason=why, finished_ms=made.now.ms)
    return made.put(ended)


def fail_attempt(made: Changes, failure: FailureKind, why: str) -> Changes:
    """End the attempt with the outcome of this failure."""
    return end_attempt(made, FAILURES[failure].outcome, failure, why)


def end_run(made: Changes, **result: object) -> Changes:
    """End the run with its attempt's outcome, and add `result`. Every run ends through this function."""
    made = calls_over(made)
    run, attempt = made.run, made.attempt
    made = made.done(made.case.action(ActionKind.USER))  # An ended run has no question to a user any more.
    made = report_undelivered(made) if Messages.of(made.run).told else made
    made = made.put(
        replace(
            move_run(run, RunState.ENDED),
            outcome=attempt.outcome,
            failure=attempt.failure,
            reason=attempt.reason,
            waits=None,
            result=with_what_was_left(run, attempt, {**run.result, **result}),
            finished_ms=made.now.ms,
            retry_at_ms=None,
        )
    )
    if can_continue_alone(made.run, made.case.session, made.case.words, attempt.outcome):
        made = made.follow(ActionKind.GO_ON, made.run.created_by)
    return made.advance()


def give_back(made: Changes, note: str, node: str | None = None) -> Changes:
    """Release the attempt's reservations; with `node`, only those in the scope of that node."""
    case, only = made.case, books.node_scope(node) if node is not None else None
    return made.book(books.release_reserved(case.entries, case.account, case.now.stamp, note, only))


def end_unstarted(made: Changes, failure: FailureKind, why: str, note: str | None = None) -> Changes:
    """End a run that never started, at no cost."""
    made = fail_attempt(give_back(made, why if note is None else note), failure, why)
    return end_run(made.put(replace(made.attempt, usage=NOT_STARTED)))


def next_attempt(made: Changes, retry: Retry, why: str, asked_ms: int = 0) -> Changes | None:
    """Make the run wait for another attempt, after a pause; None if its budget is used up. The attempt's
    reservation is taken later. `asked_ms`: the pause that the model provider requests."""
    made = calls_over(made)
    run, number = made.run, made.run.attempt + 1
    if made.case.spent_up(number):
        return None
    at_ms = made.now.ms + pause_ms(retry, made.now.retry_pause_ms, asked_ms)
    until = f", limited until {_format_moment(at_ms)}" if asked_ms else ""
    waits = replace(
        move_run(run, RunState.PENDING),
        attempt=number,
        reason=f"attempt {number} waits{until}: {why}",
        waits=WaitReason.RETRY,
        retry_at_ms=at_ms,
    )
    return made.put(waits).tell("retry", f"attempt {number}", "tried again", f"{why}; {retry.words}")


def _format_moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def not_tried_again(made: Changes, what: str = "budget", why: str = NOTHING_LEFT) -> Changes:
    return made.tell("retry", what, "not tried again", why)


@dataclass(frozen=True, slots=True)
class Lost(Signal):
    """Signal that the lease is given up, as nothing more is expected from its node."""

    why: str

    def apply(self, made: Changes) -> Changes:
        """Give the lease up and book its known cost; any remaining cost is recorded as unknown."""
        lease, attempt, newest = made.lease, made.attempt, made.case.newest
        used, entries, account = books.used_by(attempt.usage), made.case.entries, made.case.account
        if is_free(made.run):
            spent = books.Spent(books.ZERO, used.tokens, used.ms, "local")
            made = made.book(books.settle_attempt(entries, account, spent, made.now.stamp))
            usage = {**attempt.usage, "cost_usd": "0", "cost_source": "local"}
            made = made.put(replace(attempt, usage=usage))
        else:
            spent = books.Spent(books.known_cost(attempt.usage), used.tokens, used.ms)
            made = made.book(books.settle_lost(entries, account, spent, made.now.stamp))
        made = made.put(close_lease(lease, Closed.LOST, made.now.ms)).stage(JobStage.CLOSED, str(Closed.LOST))
        made = fail_attempt(made, FailureKind.NODE_LOST, self.why)
        made = made.tell("node", lease.node, "lost", self.why)
        if not newest or made.run.outcome is not None:
            return made
        made = calls_lost(made)
        retry = after_failure(made.run, FailureKind.NODE_LOST, made.case.attempts.values(), elsewhere=True)
        again = next_attempt(made, retry, self.why) if isinstance(retry, Retry) else None
        if again is not None:
            return again
        if isinstance(retry, Retry):
            made = not_tried_again(made)
        elif retry.why:
            made = not_tried_again(made, "lost", retry.why)
        return end_run(made, node=lease.node)


@dataclass(frozen=True, slots=True)
class Stop(Signal):
    """A user's request to end the run."""

    reason: str

    def apply(self, made: Changes) -> Changes:
        """Stop a waiting run at once; for a started run, send a stop to its node, which must confirm it. A
        lost lease that may still run gets a stop, too, even if a later attempt exists."""
        for lease in made.case.lost_leases:
            if not lease.stop_sent:
                made = _send_stop(made, lease.lease, self.reason).tell(
                    "stop", lease.node, "requested", self.reason
                )
        if made.run.state is RunState.ENDED:
            return made
        made = calls_over(made.tell("stop", "stop", "requested", self.reason))
        if not made.case.open_leases:
            made = made.put(replace(made.run, stop_asked=self.reason))
            return end_unstarted(made, FailureKind.STOPPED, self.reason, "stopped")
        for lease in made.case.open_leases:
            if not lease.stop_sent:
                made = _send_stop(made, lease.lease, self.reason)
        moved = move_run(made.run, RunState.INTERRUPTING)
        reason = f"stop requested, not confirmed: {self.reason}"
        return made.put(replace(moved, stop_asked=moved.stop_asked or self.reason, reason=reason, waits=None))


def _send_stop(made: Changes, number: int, reason: str) -> Changes:
    lease = made.case.leases[number]
    body = StopJob(identity=identity_of(lease), reason=reason)
    return made.put(replace(lease, stop_sent=True)).send(lease.node, body)


@dataclass(frozen=True, slots=True)
class Unbindable(Signal):
    """Signal that no job can be made for the run."""

    why: str

    def apply(self, made: Changes) -> Changes:
        """End a run for which no job can be made, so that the run does not delay others."""
        made = end_unstarted(made, FailureKind.NODE_INTERNAL, self.why)
        return made.tell("placement", "order", "not possible", self.why)


def end_without_budget(made: Changes, why: str = NOTHING_LEFT) -> Changes:
    """End the run because its budget, or that of its workflow, is used up."""
    return not_tried_again(end_unstarted(made, FailureKind.USD_LIMIT, why), why=why)


@dataclass(frozen=True, slots=True)
class GivenUp(Signal):
    """Signal that a lost run is given up: `by` (a user, its workflow or the next run) continues the work."""

    by: str

    def apply(self, made: Changes) -> Changes:
        """Stop the replaced lost run's leases; their receipts count only as evidence and for cost."""
        if made.run.outcome is not Outcome.LOST:
            return made
        made = made.put(replace(made.run, result={**made.run.result, GIVEN_UP: self.by}))
        made = end_lost_leases(made, f"replaced by {self.by}")
        return made.tell("retry", self.by, "given up", f"replaced by {self.by}")


def end_lost_leases(made: Changes, reason: str) -> Changes:
    """Send a stop to the lost leases, which may still run."""
    for lease in made.case.lost_leases:
        made = made.send(lease.node, Tombstone(run=lease.run, up_to_lease=lease.lease, reason=reason))
    return made


@dataclass(frozen=True, slots=True)
class Priced(Signal):
    """A user's statement of an attempt's cost, which was unknown or disputed."""

    usd: Decimal
    by: str

    def apply(self, made: Changes) -> Changes:
        """Set the cost of the first attempt of unknown or disputed cost; further ones get cost 0."""
        usd = self.usd
        for number, attempt in sorted(made.case.attempts.items()):
            spent = books.Spent(usd, source="settled")
            account = books.Account(made.run.id, number)
            known, stamp = made.case.entries, made.now.stamp
            entries = books.settle_unknown(known, account, spent, stamp)
            entries += books.settle_disputed(known, account, usd, stamp)
            if entries:
                usage = {**attempt.usage, "cost_usd": f"{usd:f}", "cost_source": "settled"}
                usage.pop(books.DISPUTED, None)
                made = made.book(entries).put(replace(attempt, usage=usage))
                usd = Decimal(0)
        return made.tell("settle", "by hand", "settled", f"by {self.by}") if made.booked else made
