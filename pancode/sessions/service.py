"""Users' operations on sessions: start one, send messages, cancel a turn, suspend and end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pancode.agents.agents import DEFAULT_AGENT, find_agent
from pancode.kernel.errors import PancodeError, RefusedError, UnavailableError, UsageError
from pancode.kernel.names import OWN_NAMES
from pancode.kernel.records import Action, ActionKind, ApiToken, Run, RunState, StoredMessage
from pancode.kernel.states import SessionState
from pancode.kernel.visitors import AccessScope, must_allow
from pancode.runs.admission.plan import Plan
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run, dry_run
from pancode.runs.facts import Messages
from pancode.runs.life.conversation import (
    as_interactive_run,
    can_receive_messages,
    more_news,
    select_undelivered,
)
from pancode.runs.life.waits import SessionClosed, ToldByUser, TurnAsked
from pancode.runs.request import DispatchRequest
from pancode.runs.run_continuation import continue_run, go_on
from pancode.runs.stop import stop_run
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Around, Surroundings
from pancode.runs.views import load_run, session_of, words_of
from pancode.sessions.session import load_chain

TRIES = 3
"""How often sending a message is tried, because another user may start the next interactive run at the same
moment."""
MOST_OF_A_NO = 160
"""How many characters of a denied request are sent to the agent that made it."""


def begin_session(core: Core, around: Surroundings, request: DispatchRequest) -> Dispatched:
    """Start a session's first interactive run, through the same ten gates; its task is the first message.

    The agent defaults to that of the settings, else builder; model and program to ones that are ready, named
    in the result. UsageError without a message; RefusedError if no agent could answer.
    """
    if not request.task.strip():
        fix = 'pancode chat "..."'
        raise UsageError("a session needs a first message", fix=fix, code="bad_words")
    request, chosen = _settle_request(around, request)
    done = dispatch_run(core, around, request)
    return replace(done, chosen="; ".join(filter(None, (chosen, done.chosen))))


def judge_session(core: Core, around: Surroundings, request: DispatchRequest) -> tuple[Plan, str]:
    """Preview `begin_session` without starting it; return the plan with gate results, and what was chosen."""
    request, chosen = _settle_request(around, replace(request, task=request.task.strip() or "Hello."))
    plan = dry_run(core, around, request)
    return plan, "; ".join(filter(None, (chosen, plan.chosen)))


def _settle_request(around: Surroundings, request: DispatchRequest) -> tuple[DispatchRequest, str]:
    """Return the request as one for an interactive run, and the reason for the agent if PanCode chose it."""
    project = request.project or (None if request.cwd is None else around.project_of(request.cwd))
    settings = around.defaults(project).agent
    chosen = (
        ""
        if request.agent
        else "from the setting dispatch.agent"
        if settings
        else "because no agent was named"
    )
    agent = request.agent or settings or DEFAULT_AGENT
    if project is None and request.workspace is None and find_agent(around.agents(None), agent).leads:
        request = replace(request, workspace="none")  # The agent changes no files, so it needs no workspace.
    return as_interactive_run(replace(request, agent=agent)), chosen


@dataclass(frozen=True, slots=True)
class SentMessage:
    """The run that gets a message. `how`: the way it reaches the agent; `begun`: the new run with its
    warnings. `number`: the message's number in the run; 0: it is part of the task."""

    run: Run
    how: Literal["begins", "sent", "with its task", "kept"]
    number: int = 0
    begun: Dispatched | None = None


def send_message(
    core: Core, around: Surroundings, text: str, words: str, by: str, token: ApiToken | None = None
) -> SentMessage:
    """Send a user's message to a session or any run: into its task, to its running agent, or to the next run.
    UsageError for a run that takes no messages; the errors of a dispatch if the next run is started."""
    for tried in range(TRIES):
        with unit_of_work(core) as work:
            session = load_chain(work.tx, text)
            old = session.newest
            signal = None if old.state is RunState.ENDED else work.signal(old, ToldByUser(words, by))
        if signal is not None:
            return find_sent_message(core, signal)
        if token is not None and not old.takes_turns:
            must_allow(token, AccessScope.DISPATCH, f"to continue from {old.id}, which takes no turns")
        try:
            begun = continue_run(core, around, old, words, by, session=session.id)
            return SentMessage(begun.run, "begins", begun=begun)
        except RefusedError as refused:
            if refused.code != "already_continued" or tried == TRIES - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


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
        row = load_chain(work.tx, asker).row
        if row is not None:
            no = f"{by} denied your request: {what[:MOST_OF_A_NO]}"
            work.tx.put(replace(row, news=more_news(row.news, no)))
            work.tell(row.run, "user", f"no by {by}", "delivered with the next message", what)


def is_session_landing(core: Core, text: str) -> bool:
    """Whether a message may start another run after one that was to land its change and has not landed it."""
    with core.ports.ledger.transaction() as tx:
        run = load_chain(tx, text).newest
    return run.land and run.landed is None


def end_turn(
    core: Core, text: str, what: Literal["cancel", "rest"], by: str, number: int | None = None
) -> Run:
    """Cancel a turn (None: the current one), or suspend the interactive run after that turn; do nothing if
    the turn has ended. UsageError if the run is not interactive."""
    with unit_of_work(core) as work:
        return work.signal(load_chain(work.tx, text).newest, TurnAsked(what, by, number))


def end_session(core: Core, text: str, by: str) -> Run:
    """End the session: suspend its interactive run now, or stop it if it has not started. Idempotent. Results
    are kept, and the next message starts another run. UsageError for a run that is not interactive."""
    with unit_of_work(core) as work:
        session = load_chain(work.tx, text)
        old = run = session.newest
        if not run.takes_turns:
            fix = f"pancode runs stop {run.id}"
            raise UsageError(f"{run.id} is not a session: it does not take turns", fix=fix, code="no_session")
        run = work.signal(run, SessionClosed(by))
    # This includes a run that waits for approval.
    if old.state is RunState.PENDING or session.state is SessionState.STARTS:
        return stop_run(core, run.id, f"{by} ended its session")
    return run


class GoingOn:
    """Starts the next interactive run with messages that came too late for the last one. Each start is a
    durable action."""

    def __init__(self, core: Core, around: Around) -> None:
        self._core, self._around = core, around

    def do(self, run: str, stopping: Callable[[], bool]) -> None:
        """Start the next interactive run; if another user was faster, that user's run gets the messages."""
        with self._core.ports.ledger.transaction() as tx:
            old = load_run(tx, run)
            session, left = session_of(tx, old), select_undelivered(words_of(tx, old))
        if session is not None and session.run == run and left and session.closed_by is None:
            by = old.created_by if left[0].by in OWN_NAMES else left[0].by
            try:
                go_on(self._core, self._around({}), old, by)
            except UnavailableError:
                raise
            except PancodeError as refused:
                self._drop_actions(run, str(refused))
                return
        self._drop_actions(run)

    def give_up(self, run: str, error: Exception) -> None:
        self._drop_actions(run, f"{type(error).__name__}: {error}")

    def _drop_actions(self, run: str, why: str = "") -> None:
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
                    f"{why}; its messages are kept for the next run",
                )
