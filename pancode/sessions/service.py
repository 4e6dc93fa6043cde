"""Hands on what users say to sessions: begins them, takes all words, cancels a turn, rests, ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pancode.agents.agents import DEFAULT_AGENT, find_agent
from pancode.kernel.errors import PancodeError, RefusedError, UnavailableError, UsageError
from pancode.kernel.facets import Messages
from pancode.kernel.names import OWN_NAMES
from pancode.kernel.records import Action, ActionKind, ApiToken, Run, RunState, StoredMessage
from pancode.kernel.states import SessionState
from pancode.kernel.visitors import AccessScope, must_allow
from pancode.runs.admission.plan import Plan
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run, dry_run
from pancode.runs.life.conversation import (
    as_interactive_run,
    can_receive_messages,
    more_news,
    select_undelivered,
)
from pancode.runs.life.waits import SessionClosed, ToldByUser, TurnAsked
from pancode.runs.request import DispatchRequest
from pancode.runs.stop import stop_run
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Around, Surroundings
from pancode.runs.views import session_of, words_of
from pancode.sessions.run_continuation import continue_run, go_on
from pancode.sessions.session import load_chain

TRIES = 3
"""How often the words are tried, as somebody else may begin the next interactive run at the same moment."""
MOST_OF_A_NO = 160
"""How many characters of what was denied its agent hears."""


def begin_session(core: Core, around: Surroundings, request: DispatchRequest) -> Dispatched:
    """Begin a session's first interactive run, through the same ten gates; its task is the words of turn 1.

    Without an agent it has that of the settings, else builder; without a model or program it has what is
    ready, and the answer says so. UsageError: no words. RefusedError: nothing could talk.
    """
    if not request.task.strip():
        fix = 'pancode chat "..."'
        raise UsageError("a session needs a first message", fix=fix, code="bad_words")
    request, chosen = _settled(around, request)
    done = dispatch_run(core, around, request)
    return replace(done, chosen="; ".join(filter(None, (chosen, done.chosen))))


def judge_session(core: Core, around: Surroundings, request: DispatchRequest) -> tuple[Plan, str]:
    """Judge as `begin_session` does, but begin nothing: return the ten verdicts, and what was chosen."""
    request, chosen = _settled(around, replace(request, task=request.task.strip() or "Hello."))
    plan = dry_run(core, around, request)
    return plan, "; ".join(filter(None, (chosen, plan.chosen)))


def _settled(around: Surroundings, request: DispatchRequest) -> tuple[DispatchRequest, str]:
    """Return the request as an interactive run with its agent, and words for an agent that nobody named."""
    project = request.project or (None if request.cwd is None else around.project_of(request.cwd))
    settings = around.defaults(project).agent
    chosen = "" if request.agent else "as dispatch.agent says" if settings else "as nobody has named an agent"
    agent = request.agent or settings or DEFAULT_AGENT
    if project is None and request.workspace is None and find_agent(around.agents(None), agent).leads:
        request = replace(request, workspace="none")  # it changes no file, so it needs none
    return as_interactive_run(replace(request, agent=agent)), chosen


@dataclass(frozen=True, slots=True)
class SentMessage:
    """The run that has the words. `how` the words reach its agent; `begun`: the new run with its warnings.

    `number`: the message's number in its run; 0: the words are in the task.
    """

    run: Run
    how: Literal["begins", "sent", "with its task", "kept"]
    number: int = 0
    begun: Dispatched | None = None


def send_message(
    core: Core, around: Surroundings, text: str, words: str, by: str, token: ApiToken | None = None
) -> SentMessage:
    """Send messages of users to a session, or to any run: into its task, to its agent at work, or to the next
    run.

    UsageError for a run that takes none; the refusals of a dispatch where the next run begins.
    """
    for tried in range(TRIES):
        with unit_of_work(core) as work:
            session = load_chain(work.tx, text)
            old = session.newest
            signal = None if old.state is RunState.ENDED else work.signal(old, ToldByUser(words, by))
        if signal is not None:
            return said_in(core, signal)
        if token is not None and not old.takes_turns:
            must_allow(token, AccessScope.DISPATCH, f"to continue from {old.id}, which takes no turns")
        try:
            begun = continue_run(core, around, old, words, by, session=session.id)
            return SentMessage(begun.run, "begins", begun=begun)
        except RefusedError as refused:
            if refused.code != "already_continued" or tried == TRIES - 1:
                raise
    raise AssertionError("the last try returns or raises")


def said_in(core: Core, run: Run) -> SentMessage:
    """Return how the words that were said last to this run reach its agent."""
    with core.ports.ledger.transaction() as tx:
        last = tx.get(StoredMessage, run.id, Messages.of(run).told)
    if last is None or last.laid:
        return SentMessage(run, "with its task")
    heard = (
        can_receive_messages(run) and run.state in (RunState.PENDING, RunState.RUNNING) and not last.for_next
    )
    return SentMessage(run, "sent" if heard else "kept", last.number)


def turn_down(core: Core, asker: str, what: str, by: str) -> None:
    """Let a session hear, with its next message, that a user said no to what this run asked for: a no begins
    no turn.
    """
    with unit_of_work(core) as work:
        row = load_chain(work.tx, asker).row
        if row is not None:
            no = f"{by} has said no to what you asked for: {what[:MOST_OF_A_NO]}"
            work.tx.put(replace(row, news=more_news(row.news, no)))
            work.tell(row.run, "person", f"no by {by}", "told with the next message", what)


def is_session_landing(core: Core, text: str) -> bool:
    """Whether words may begin a run that was asked to land its change, and has not."""
    with core.ports.ledger.transaction() as tx:
        run = load_chain(tx, text).newest
    return run.land and run.landed is None


def end_turn(
    core: Core, text: str, what: Literal["cancel", "rest"], by: str, number: int | None = None
) -> Run:
    """Cancel a turn (None: the one at work), or let the interactive run rest after it; a turn that is over
    stays as it is. UsageError where no program takes turns.
    """
    with unit_of_work(core) as work:
        return work.signal(load_chain(work.tx, text).newest, TurnAsked(what, by, number))


def end_session(core: Core, text: str, by: str) -> Run:
    """End the session: its interactive run rests now, and one that has not begun never does. Idempotent.

    What it has made is kept, and the next message begins another interactive run. UsageError for a run
    without turns.
    """
    with unit_of_work(core) as work:
        session = load_chain(work.tx, text)
        old = run = session.newest
        if not run.takes_turns:
            fix = f"pancode runs stop {run.id}"
            raise UsageError(f"{run.id} is not a session: it does not take turns", fix=fix, code="no_session")
        run = work.signal(run, SessionClosed(by))
    if (
        old.state is RunState.PENDING or session.state is SessionState.STARTS
    ):  # also while it waits for approval
        return stop_run(core, run.id, f"{by} has ended its session")
    return run


class GoingOn:
    """Begins the next interactive run with words that came too late for the one before; durable, as an
    action."""

    def __init__(self, core: Core, around: Around) -> None:
        self._core, self._around = core, around

    def do(self, run: str, stopping: Callable[[], bool]) -> None:
        """Begin the interactive run once only: where somebody was faster, that interactive run
        has the words."""
        with self._core.ports.ledger.transaction() as tx:
            old = tx.get(Run, run)
            assert old is not None  # no run is ever deleted
            session, left = session_of(tx, old), select_undelivered(words_of(tx, old))
        if session is not None and session.run == run and left and session.closed_by is None:
            by = old.created_by if left[0].by in OWN_NAMES else left[0].by
            try:
                go_on(self._core, self._around({}), old, by)
            except UnavailableError:
                raise
            except PancodeError as refused:
                self._over(run, str(refused))
                return
        self._over(run)

    def give_up(self, run: str, error: Exception) -> None:
        self._over(run, f"{type(error).__name__}: {error}")

    def _over(self, run: str, why: str = "") -> None:
        with unit_of_work(self._core) as work:
            for action in work.tx.find(Action, {"run": run}):
                if action.kind is ActionKind.GO_ON:
                    work.tx.delete(Action, action.id)
            if why:
                work.tell(
                    run,
                    "continue",
                    "next interactive run",
                    "not begun",
                    f"{why}; its words are kept for the next ones",
                )
