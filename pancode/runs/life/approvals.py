"""Effects of a user's approval, denial or answer, on a run before it begins or on a call that waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.wire.control import UserAnswers
from node_agent.wire.event import UserAsked
from node_agent.wire.failure import FailureKind
from pancode.agents.runtimes import RUNTIMES
from pancode.budget.books import BudgetScope
from pancode.kernel.errors import RefusedError
from pancode.kernel.records import ActionKind, RunState, WaitReason
from pancode.kernel.values import replace
from pancode.runs.facts import Approval, Approvals
from pancode.runs.life import inbox, waits
from pancode.runs.life.binding import begin_waiting, reserve_budget
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.conversation import is_blocked
from pancode.runs.life.ends import end_unstarted
from pancode.runs.life.inbox import BEFORE_START, ItemKind, kind_of, must_wait
from pancode.runs.life.jobs import identity_of, name_of


@dataclass(frozen=True, slots=True)
class AskedFirst(Signal):
    """A new run that has passed the gates, but begins only after a user's approval."""

    def apply(self, made: Changes) -> Changes:
        """Make the new run wait for its workflow, if any, then for approval; nothing is reserved yet."""
        made = replace(made, fresh=True)
        return made if made.run.waits is WaitReason.WORKFLOW else waits.ask_first(made)


@dataclass(frozen=True, slots=True)
class Approved(Signal):
    """A user's approval of a run before it begins. `whole`: it also covers the run's later attempts."""

    by: str
    whole: bool
    budget_scopes: Sequence[BudgetScope]

    def apply(self, made: Changes) -> Changes:
        """Reserve the approved run's budget and let the run wait for a slot. An approval that answers a
        budget question reserves even above a ceiling.

        UsageError if nothing of this kind waits; RefusedError if a ceiling no longer has room.
        """
        must_wait(made.run, made.case.action(ActionKind.USER), *BEFORE_START)
        kind = kind_of(made.run)
        made, refused = reserve_budget(made, self.budget_scopes, beyond=kind is ItemKind.BUDGET)
        if refused:
            raise RefusedError(
                f"{made.run.id} was not started: {refused}",
                why="the ceiling had room when the run was requested; the run still waits",
                fix="pancode budget show; raise it with pancode budget set, then approve the run again",
                code="budget",
            )
        approval = Approval(by=self.by, at_ms=made.now.ms, whole=self.whole)
        approvals = replace(Approvals.of(made.run), approved=approval).on(made.run)
        made = begin_waiting(waits.close_question(made.put(approvals)))
        scope = "run" if self.whole else "once"
        made = made.tell("user", kind, "approved", f"by {self.by}, {scope}")
        return made.record("people", "info", "approved", by=self.by, kind=str(kind), scope=scope)


@dataclass(frozen=True, slots=True)
class Declined(Signal):
    """A user's denial of the item for which the run waits."""

    by: str

    def apply(self, made: Changes) -> Changes:
        """End a run that a user denies before it begins; an ended run remains unchanged. UsageError if
        nothing waits."""
        must_wait(made.run, made.case.action(ActionKind.USER), *ItemKind)
        kind = kind_of(made.run)
        if kind is ItemKind.LANDING:
            fix = f"pancode land {made.run.id}"
            report: dict[str, object] = {"status": waits.DENIED, "why": f"denied by {self.by}", "fix": fix}
            made = made.put(replace(made.run, landing=report))
        made = waits.close_question(made).tell("user", kind, waits.DENIED, f"by {self.by}")
        made = made.record("people", "info", waits.DENIED, by=self.by, kind=str(kind))
        if made.run.state is not RunState.PENDING:
            return made
        return end_unstarted(made, FailureKind.STOPPED, f"denied by {self.by}")


@dataclass(frozen=True, slots=True)
class Unasked(Signal):
    """Signal that the workflow of the run no longer needs an answer."""

    why: str

    def apply(self, made: Changes) -> Changes:
        """Remove the run's question from the inbox. Idempotent."""
        action = made.case.action(ActionKind.USER)
        if action is None or not is_blocked(made.run):
            return made
        return made.done(action).tell("user", kind_of(made.run), "withdrawn", self.why)


@dataclass(frozen=True, slots=True)
class AskedAgain(Signal):
    """Signal that the workflow continues and still needs an answer, which no user has given."""

    def apply(self, made: Changes) -> Changes:
        """Put the run's question into the inbox again. Idempotent."""
        if made.case.action(ActionKind.USER) is not None or not is_blocked(made.run):
            return made
        return waits.open_question(made).tell(
            "user", kind_of(made.run), "requested again", "its workflow continues"
        )


_SHORT = 200
MOST_KEPT = 400
"""How many calls one run may ask about, so that no node can fill the ledger with calls."""
TOO_MANY = f"a run may ask for approval of at most {MOST_KEPT} commands"


def request_approval(made: Changes, body: UserAsked) -> Changes:
    """Put the agent's call into the inbox; a call of a permitted rule is approved at once. Idempotent."""
    run, question = made.run, body.asked
    works = made.case.newest and run.state is RunState.RUNNING and run.stop_asked is None
    if not works or not RUNTIMES[run.runtime].asks(run.takes_turns) or inbox.is_known(run, question.call):
        return made
    if len(inbox.calls_of(run)) >= MOST_KEPT:
        return waits.deny_call(made, question, TOO_MANY)
    made = made.put(inbox.with_call(run, body, made.now.ms))
    number = len(inbox.calls_of(made.run))
    if question.pattern in inbox.list_permitted(run):
        return _answer(made, number, CallDecided("an earlier approval", allow=True, whole=True))
    reason = f"waits for a user's approval: {question.command[:_SHORT]}"
    made = waits.open_question(made.put(replace(made.run, reason=reason)))
    return made.tell("user", f"call {number}", "requested", f"{question.command}; {body.why}")


@dataclass(frozen=True, slots=True)
class CallDecided(Signal):
    """A user's decision on a waiting call. `whole`: also on all calls of its rule; `number`: in the inbox."""

    by: str
    allow: bool
    whole: bool = False
    number: int | None = None
    words: str = ""

    def apply(self, made: Changes) -> Changes:
        """Record a user's decision on a call. UsageError if no call waits; RefusedError if another call
        waits."""
        must_wait(made.run, made.case.action(ActionKind.USER), ItemKind.CALL)
        number, _ = inbox.chosen_call(made.run, self.number)
        made = waits.close_question(_answer(made, number, self))
        if self.allow and self.whole:
            made = made.put(inbox.permit_rule(made.run, inbox.calls_of(made.run)[number - 1]["pattern"]))
            for other, row in inbox.open_calls(made.run).items():
                if row["pattern"] in inbox.list_permitted(made.run):
                    made = _answer(made, other, self)
        scope = "run" if self.whole else "once"
        what = "approved" if self.allow else waits.DENIED
        made = made.record("people", "info", what, by=self.by, kind=str(ItemKind.CALL), scope=scope)
        if inbox.open_calls(made.run):
            return waits.open_question(made)
        lease = made.case.leases[made.run.lease]
        return made.put(replace(made.run, reason=f"{lease.mark} on {lease.node}"))


def _answer(made: Changes, number: int, signal: CallDecided) -> Changes:
    row, lease = inbox.calls_of(made.run)[number - 1], made.case.leases[made.run.lease]
    body = UserAnswers(
        identity=identity_of(lease),
        asked=inbox.make_question(row),
        allow=signal.allow,
        whole=signal.allow and signal.whole,
        words=signal.words,
        by=name_of(signal.by),
    )
    answer = inbox.YES if signal.allow else inbox.NO
    made = made.put(inbox.with_answer(made.run, number, answer, signal.by)).send(lease.node, body)
    reason = f"by {signal.by}" + (f": {signal.words}" if signal.words else "")
    return made.tell("user", f"call {number}", "approved" if signal.allow else waits.DENIED, reason)
