"""Users' messages to runs and sessions: how each reaches an agent, and whether it begins the next run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pancode.kernel.errors import RefusedError
from pancode.kernel.records import ApiToken, Run, RunState, StoredMessage
from pancode.kernel.visitors import AccessScope, must_allow
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched
from pancode.runs.facts import Messages
from pancode.runs.life.continuations import GO_ON
from pancode.runs.life.conversation import can_receive_messages, more_news
from pancode.runs.life.waits import ToldByUser
from pancode.runs.run_continuation import continue_run
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import chain_of, load_run, session_of

TRIES = 3
"""How often sending a message is tried, because another user may start the next interactive run at the same
moment."""
MOST_OF_A_NO = 160
"""How many characters of a denied request are sent to the agent that made it."""


@dataclass(frozen=True, slots=True)
class SentMessage:
    """The run that gets a message. `how`: the way it reaches the agent; `begun`: the new run with its
    warnings. `number`: the message's number in the run; 0: it is part of the task."""

    run: Run
    how: Literal["begins", "sent", "with its task", "kept"]
    number: int = 0
    begun: Dispatched | None = None


def send_message(
    core: Core, around: Surroundings, run: str, words: str, by: str, token: ApiToken | None = None
) -> SentMessage:
    """Send a user's message to a session or any run: into its task, to its running agent, or to the next run.
    UsageError for a run that takes no messages; the errors of a dispatch if the next run is started."""
    for tried in range(TRIES):
        with unit_of_work(core) as work:
            chain = chain_of(work.tx, load_run(work.tx, run))
            old = chain[-1]
            signal = None if old.state is RunState.ENDED else work.signal(old, ToldByUser(words, by))
        if signal is not None:
            return find_sent_message(core, signal)
        if token is not None and not old.takes_turns:
            must_allow(token, AccessScope.DISPATCH, f"to continue from {old.id}, which takes no turns")
        try:
            begun = continue_run(core, around, old, words, by, session=chain[0].id)
            return SentMessage(begun.run, "begins", begun=begun)
        except RefusedError as refused:
            if refused.code != "already_continued" or tried == TRIES - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def continue_from(core: Core, around: Surroundings, old: Run, text: str, by: str | Run) -> Dispatched:
    """Continue from the run's result in a new run. A session gets the text as a message, in any state."""
    if not old.takes_turns:
        return continue_run(core, around, old, text, by)
    done = send_message(core, around, old.id, text or GO_ON, str(by))
    return done.begun or Dispatched(done.run, ())


def find_sent_message(core: Core, run: Run) -> SentMessage:
    """Return how the newest message to this run reaches the agent."""
    with core.ports.ledger.transaction() as tx:
        last = tx.get(StoredMessage, run.id, Messages.of(run).told)
    if last is None or last.laid:
        return SentMessage(run, "with its task")
    heard = (
        can_receive_messages(run) and run.state in (RunState.PENDING, RunState.RUNNING) and not last.for_next
    )
    return SentMessage(run, "sent" if heard else "kept", last.number)


def turn_down(core: Core, asker: str, what: str, by: str) -> None:
    """Add a user's denial to the session's next message; the denial alone does not start a turn."""
    with unit_of_work(core) as work:
        row = session_of(work.tx, chain_of(work.tx, load_run(work.tx, asker))[-1])
        if row is not None:
            no = f"{by} denied your request: {what[:MOST_OF_A_NO]}"
            work.tx.put(replace(row, news=more_news(row.news, no)))
            work.tell(row.run, "user", f"no by {by}", "delivered with the next message", what)


def may_land_next(core: Core, run: Run) -> bool:
    """Whether the next run of the chain lands, because the newest one was to land and has not landed."""
    with core.ports.ledger.transaction() as tx:
        newest = chain_of(tx, run)[-1]
    return newest.land and newest.landed is None
