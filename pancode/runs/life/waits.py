"""Decides when a run begins to wait for a user and when the wait ends, and how messages reach its agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from node_agent.wire.control import TurnControl, UserAnswers, UserMessage
from node_agent.wire.identity import Mark
from node_agent.wire.policy import CallAsked
from node_agent.wire.receipt import TurnRecord
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import count_noun
from pancode.kernel.names import FLEET, OWN_NAMES, TRACKER
from pancode.kernel.records import ActionKind, Lease, LeaseState, RunState, StoredMessage, WaitReason
from pancode.kernel.values import replace
from pancode.runs.facts import Messages, SessionTurn
from pancode.runs.life import conversation, inbox
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.conversation import (
    AT_A_TURN,
    NEXT,
    WITH_TASK,
    InteractiveTerms,
    after_news,
    can_receive_messages,
    is_blocked,
    list_next_runs,
    more_news,
    must_be_free,
    must_hear,
    select_unread,
)
from pancode.runs.life.inbox import FIRST, ItemKind, must_wait
from pancode.runs.life.jobs import identity_of, name_of

DENIED = "denied"
LEAVES: tuple[Literal["rest"], int] = ("rest", 1)
"""The turn control by which a user leaves an opened workspace, and its number."""
ONLY_HERE = f"{AT_A_TURN}0"
"""The `laid` value of messages not from a user: this run's agents get them, but no later run."""
LOST = "the coordinator gave this run up as lost on its node, so the command cannot be approved"


def open_question(made: Changes) -> Changes:
    """Put the run's question to a user into the inbox. Idempotent."""
    if made.case.action(ActionKind.USER) is not None:
        return made
    return made.follow(ActionKind.USER, made.run.created_by)


def ask_first(made: Changes) -> Changes:
    """Make the run wait for a user's approval before it begins."""
    run = made.run
    return open_question(made.put(replace(run, reason=FIRST, waits=WaitReason.USER)))


def close_question(made: Changes) -> Changes:
    """Remove the run's question from the inbox; let a workflow that waited for it continue. Idempotent."""
    action = made.case.action(ActionKind.USER)
    over = made.done(action)
    return over if action is None or not is_blocked(made.run) else over.advance()


def calls_over(made: Changes) -> Changes:
    """Close the calls of an agent that stopped working, so that no user is asked about them. Idempotent."""
    if not inbox.open_calls(made.run):
        return made
    return close_question(made.put(inbox.all_closed(made.run)))


def calls_lost(made: Changes) -> Changes:
    """Deny the open calls of an attempt that is given up, as its agent may still wait. Idempotent."""
    for row in inbox.open_calls(made.run).values():
        made = deny_call(made, inbox.make_question(row), LOST)
    return calls_over(made)


def deny_call(made: Changes, question: CallAsked, words: str) -> Changes:
    """Deny the call of this lease's agent without asking a user."""
    body = UserAnswers(identity=identity_of(made.lease), asked=question, allow=False, words=words)
    return made.send(made.lease.node, body)


@dataclass(frozen=True, slots=True)
class ToldByUser(Signal):
    """A user's message to the run."""

    text: str
    by: str

    def apply(self, made: Changes) -> Changes:
        """Deliver a user's message: with the task before a job is signed, else to the run's agent if it
        accepts any, else store it for the continuation. UsageError if the run accepts no messages."""
        session = made.case.session
        # If a user changed the session's terms, the message begins the next interactive run.
        changes = session is not None and session.chosen_by is not None
        waits = made.run.state is RunState.PENDING and not made.case.open_leases and not changes
        news = () if session is None else session.news
        must_hear(made.run, made.case.words, self.text, news)
        laid = WITH_TASK if waits else ONLY_HERE if self.by in OWN_NAMES else ""
        made = add_message(made, self.by, after_news(news, self.text), laid, changes)
        made = made if session is None else made.put(replace(session, news=(), closed_by=None))
        sent = not waits and not changes and find_listening_lease(made) is not None
        how = (
            "delivered with its task"
            if waits
            else "sent to its agent"
            if sent
            else "stored until it is continued"
        )
        made = deliver_messages(made) if sent else made
        made = made.tell("user", f"message from {self.by}", how, self.text[:500])
        return made.record("people", "info", "told", by=self.by, delivered=how)


@dataclass(frozen=True, slots=True)
class ToldByFleet(Signal):
    """Results of runs, for the orchestrator's session that started them and now waits or is suspended."""

    text: str

    def apply(self, made: Changes) -> Changes:
        """Report the results to the orchestrator's session, in a turn or in its next interactive run."""
        made = add_message(made, FLEET, self.text)
        if made.run.state is RunState.ENDED:
            made = made.follow(ActionKind.GO_ON, made.run.created_by)
        made = deliver_messages(made).tell("fleet", "runs that it started", "told", self.text[:500])
        return made.record("fleet", "info", "session informed of the runs that it started")


@dataclass(frozen=True, slots=True)
class ToldByTracker(Signal):
    """A change of the run's issue. The first line of the text names the issue; then the issue's own text
    follows, marked as material."""

    text: str

    def apply(self, made: Changes) -> Changes:
        """Send the run its issue's current text: as news of its session, with its task before a job is
        signed, or to its active agent. As no user sent it, it begins no turn, and no later run gets it.

        UsageError if no agent would read it.
        """
        run, session, text = made.run, made.case.session, self.text
        if session is not None and run.takes_turns:
            news = [one for one in session.news if text.partition("\n")[0] not in one]
            made, how = (
                made.put(replace(session, news=more_news(news, text))),
                "delivered with the next message",
            )
        elif run.state is RunState.PENDING and not made.case.open_leases and not RUNTIMES[run.runtime].own:
            task = run.task
            for old in (one for one in made.case.words if one.by == TRACKER and one.laid == WITH_TASK):
                task = task.replace(f"\n\n{old.text}", "")
            made, how = made.put(replace(run, task=task)), "delivered with its task"
            made = add_message(made, TRACKER, text, WITH_TASK)
        elif can_receive_messages(run):
            made, how = deliver_messages(add_message(made, TRACKER, text, ONLY_HERE)), "sent to its agent"
        else:
            fix = f"pancode runs show {run.id}"
            raise UsageError(
                f"{run.id} does not take messages while it works", fix=fix, code="takes_no_words"
            )
        made = made.tell("tracker", "its issue has changed", how, text[:500])
        return made.record("people", "info", "told", by=TRACKER, delivered=how)


def add_message(made: Changes, by: str, text: str, laid: str = "", for_next: bool = False) -> Changes:
    """Add a message to the run; `laid`: how the message was delivered, if it already was."""
    run, number = made.run, len(made.case.words) + 1
    who = by if run.takes_turns else "A user"
    line = text if by == TRACKER else f"{who} adds: {text}"
    task = f"{run.task}\n\n{line}" if laid == WITH_TASK else run.task
    word = StoredMessage(run.id, number, made.now.ms, by, text, laid, for_next=for_next)
    return made.put(replace(replace(Messages.of(run), told=number).on(run), task=task), word)


def find_listening_lease(made: Changes) -> Lease | None:
    """Return the lease whose agent is active and accepts messages at its next turn; None if no agent does."""
    lease = made.case.leases.get(made.run.lease)
    works = lease is not None and lease.state is LeaseState.RUNNING and lease.mark == Mark.SPAWNED
    return lease if works and can_receive_messages(made.run) else None


def deliver_messages(made: Changes) -> Changes:
    """Send the agent its undelivered messages; the node accepts each message number only once."""
    lease = find_listening_lease(made)
    if lease is None:
        return made
    for one in select_unread(made.case.words, made.run.attempt):
        body = UserMessage(identity=identity_of(lease), number=one.number, text=one.text, by=name_of(one.by))
        made = made.send(lease.node, body)
    return made


@dataclass(frozen=True, slots=True)
class TurnAsked(Signal):
    """A user's request to cancel the current turn, or to suspend the interactive run after it. `turn`: the
    number of the turn that the user saw; None: the current one."""

    what: Literal["cancel", "rest"]
    by: str
    turn: int | None = None

    def apply(self, made: Changes) -> Changes:
        """Cancel the current turn, or suspend the interactive run after it. UsageError if no turn is
        possible."""
        lease = find_listening_lease(made)
        if lease is None or not made.run.takes_turns:
            raise UsageError(
                f"{made.run.id} has no turn to {self.what}",
                why=f"it is {made.run.state}: {made.run.reason}",
                fix=f"see: pancode sessions show {made.run.id}",
                code="no_turn",
            )
        ended = conversation.ended_turns(made.run)
        idle = conversation.is_between_turns(made.run, made.case.words)
        seen = self.turn if self.what == "cancel" else None
        number = seen or (ended if self.what == "rest" and idle else ended + 1)
        if self.what == "rest" or (not idle if seen is None else seen > ended):
            body = TurnControl(identity=identity_of(lease), number=number, what=self.what)
            made = made.send(lease.node, body)
        made = made.tell("user", f"turn {number}", f"{self.what} requested", f"by {self.by}")
        return made.record("people", "info", f"turn: {self.what}", by=self.by, turn=number)


@dataclass(frozen=True, slots=True)
class LeftWorkspace(Signal):
    """A user's request to leave the workspace that this active run has kept open."""

    by: str

    def apply(self, made: Changes) -> Changes:
        """Request the node to end the active run that has kept the workspace open for a user."""
        lease, (what, number) = made.case.leases[made.run.lease], LEAVES
        made = made.send(lease.node, TurnControl(identity=identity_of(lease), number=number, what=what))
        made = made.tell("user", "workspace", "left", f"by {self.by}")
        return made.record("people", "info", "workspace left", by=self.by)


@dataclass(frozen=True, slots=True)
class GivesWay(Signal):
    """A request that the interactive run, which waits for a message, gives its slot to another run."""

    run: str

    def apply(self, made: Changes) -> Changes:
        """Suspend the interactive run for a run that needs its slot; no change if it may not give way."""
        lease = find_listening_lease(made)
        if lease is None or not conversation.may_give_way(made.run, made.case.session, made.case.words):
            return made
        number = conversation.ended_turns(made.run)
        made = made.send(
            lease.node, TurnControl(identity=identity_of(lease), number=number, what="give_way")
        ).put(replace(SessionTurn.of(made.run), gives_way=self.run).on(made.run))
        made = made.tell("rest", f"turn {number}", "rests", f"{self.run} needs its slot")
        return made.record("dispatch", "info", "a session gave its slot to another run", next=self.run)


def record_turn(made: Changes, turn: TurnRecord, at_ms: int) -> Changes:
    """Record that a turn of the interactive run has ended. Idempotent, as the receipt reports the turn again.
    A turn out of order is dropped, as it would hide later turns."""
    if not made.run.takes_turns or turn.number != conversation.ended_turns(made.run) + 1:
        return made
    words = conversation.in_turn(made.case.words, turn, made.run.attempt)
    made = made.put(conversation.add_turn(made.run, turn, at_ms), *words)
    made = calls_over(made)  # A call waits for a user only during its turn.
    made = made.tell("turn", f"turn {turn.number}", turn.stop.value, turn.why)
    session = made.case.session
    by = None if session is None else session.chosen_by
    # The interactive run cannot be suspended before its program has started.
    if by is None or find_listening_lease(made) is None:
        return made
    return TurnAsked("rest", by).apply(made)


@dataclass(frozen=True, slots=True)
class TermsAsked(Signal):
    """A user's choice of other terms for the session, which apply from its next interactive run on."""

    terms: InteractiveTerms
    by: str

    def apply(self, made: Changes) -> Changes:
        """Set the terms of the session's next interactive run; an active run is suspended after its turn.
        Idempotent. The current run keeps its own mode and level, as its signed job contains them."""
        session, wanted = made.case.session, self.terms.as_json()
        if session is None:
            return made
        if self.terms == conversation.terms_of(made.run):
            words = (replace(one, for_next=False) for one in made.case.words if one.for_next)
            made = deliver_messages(made.put(replace(session, **wanted, chosen_by=None), *words))
        else:
            made = made.put(replace(session, **wanted, chosen_by=self.by))
            made = made if find_listening_lease(made) is None else TurnAsked("rest", self.by).apply(made)
        terms = {name: str(value) for name, value in wanted.items() if value}
        made = made.tell("user", "mode and level", ", ".join(terms.values()), f"by {self.by}")
        return made.record("people", "info", "mode and level", by=self.by, **terms)


@dataclass(frozen=True, slots=True)
class SessionClosed(Signal):
    """A user's request to end the session whose newest run this is."""

    by: str

    def apply(self, made: Changes) -> Changes:
        """End the session: an active run is suspended, a waiting run never begins. Idempotent."""
        session = made.case.session
        if session is None or session.closed_by is not None:
            return made
        made = close_question(made) if conversation.is_cut_by_cap(made.run) else made
        # A closed session has no question about more budget.
        run = replace(SessionTurn.of(made.run), more_usd="").on(made.run)
        made = made.put(run, replace(session, closed_by=self.by))
        made = made.tell("user", "session", "ended", f"by {self.by}")
        made = made.record("people", "info", "session ended", by=self.by)
        if find_listening_lease(made) is None or not made.run.takes_turns:
            return made
        if not conversation.is_between_turns(made.run, made.case.words):
            made = TurnAsked("cancel", self.by).apply(made)
        return TurnAsked("rest", self.by).apply(made)


def record_delivered(made: Changes, numbers: tuple[int, ...]) -> Changes:
    """Mark these messages as delivered, because the node reported that the agent got them."""
    waited = {one.number for one in select_unread(made.case.words, made.run.attempt)}
    new = [number for number in numbers if number in waited]
    made = made.put(*conversation.mark_delivered(made.case.words, numbers, made.lease.attempt))
    shown = ", ".join(map(str, new))
    return made.tell("user", f"message {shown}", "delivered", "at a turn of its agent") if new else made


def report_undelivered(made: Changes) -> Changes:
    """Record in the ending run's timeline how many messages its agent did not get."""
    left = len(conversation.select_undelivered(made.case.words))
    if not left:
        return made
    words = f"{count_noun(left, 'message')} of users stored for: pancode runs continue {made.run.id}"
    return made.tell("user", "message", "not delivered", words)


def move_messages(made: Changes, run: str) -> Changes:
    """Move all undelivered messages of the old run to this run, which continues it."""
    return made.put(*(replace(one, laid=run) for one in conversation.select_undelivered(made.case.words)))


@dataclass(frozen=True, slots=True)
class Continued(Signal):
    """Signal that a new run continues from this one. `sole`: only one run may, as with an answer. `program`:
    the program that answered; empty: a user did. `past_cap`: a user approved continuing beyond the cap."""

    run: str
    by: str
    sole: bool = False
    program: str = ""
    past_cap: bool = False

    def apply(self, made: Changes) -> Changes:
        """Record the run that continues from this one. If only one run may continue (`sole`), raises
        RefusedError or UsageError when the question has already been answered or denied."""
        if self.sole:
            must_be_free(made.run)
            # The item may have been denied since the answer was checked.
            action = made.case.action(ActionKind.USER)
            if is_blocked(made.run) or self.past_cap:
                must_wait(made.run, action, ItemKind.QUESTION, ItemKind.PERMISSION)
        result = {**made.run.result, NEXT: [*list_next_runs(made.run), self.run]}
        made = move_messages(made.put(replace(made.run, result=result)), self.run).done(
            made.case.action(ActionKind.USER)
        )
        by = f"a program answered: {self.program}" if self.program else f"by {self.by}"
        made = made.tell("continue", self.run, "continued", by)
        verdict, program = "answered" if self.sole else "continued", {"program": self.program}
        return made.record(
            "people", "info", verdict, by=self.by, next=self.run, **(program if self.program else {})
        )
