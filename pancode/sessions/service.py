"""Users' operations on sessions: start one, send messages, cancel a turn, suspend and end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from pancode.agents.agents import DEFAULT_AGENT, find_agent
from pancode.kernel.errors import PancodeError, UnavailableError, UsageError
from pancode.kernel.names import OWN_NAMES
from pancode.kernel.records import Action, ActionKind, Run, RunState
from pancode.kernel.states import SessionState
from pancode.runs.admission.plan import Plan
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run, dry_run
from pancode.runs.life.conversation import as_interactive_run, select_undelivered
from pancode.runs.life.waits import SessionClosed, TurnAsked
from pancode.runs.request import DispatchRequest
from pancode.runs.run_continuation import go_on
from pancode.runs.stop import stop_run
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Around, Surroundings
from pancode.runs.views import load_run, session_of, words_of
from pancode.sessions.session import load_chain


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


def newest_run(core: Core, text: str) -> Run:
    """Return the newest run of the session that the text names."""
    with core.ports.ledger.transaction() as tx:
        return load_chain(tx, text).newest


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
