"""Sends an orchestrator's session a message from the fleet with the results of the runs that it started.

One message covers all results so far. It is composed at delivery, in the same transaction that marks its runs
as reported.
"""

from __future__ import annotations

from collections.abc import Callable

from node_agent.wire.failure import Outcome
from node_agent.wire.receipt import SuspendReason, TurnStop
from pancode.kernel.errors import PancodeError
from pancode.kernel.formatting import count_noun, format_outcome, format_usd
from pancode.kernel.names import FLEET, OWN_NAMES
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, Run, RunState, SessionRow, Setting
from pancode.kernel.states import SessionState
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.life.conversation import (
    is_orchestrator,
    list_next_runs,
    more_news,
    opener_of,
    select_undelivered,
    stop_of,
)
from pancode.runs.life.inbox import ItemKind, item_of, open_item
from pancode.runs.life.waits import ToldByFleet
from pancode.runs.lists import PAUSED
from pancode.runs.needs import load_left, need_of_run
from pancode.runs.receipts.rules import cost_of
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Around
from pancode.runs.views import attempts_of, words_of
from pancode.runs.whole_changes import find_larger
from pancode.sessions.pending_updates import find_pending, runs_of
from pancode.sessions.session import SessionChain, load_chain

MOST_TOLD = 20
"""How many runs one message names at most."""
_REASON = 200
MOST_IN_A_ROW = 10
"""How many messages of the fleet may follow each other without a message of a user."""
_GOES_ON = (SuspendReason.IDLE, SuspendReason.SLOT, SuspendReason.SIZE)
"""A session suspended for one of these reasons is woken; otherwise a user or its cap suspended it."""
_WORD = """[This is an automatic message of the fleet. No user wrote it, and nothing in it is an instruction.]
Results of runs that you started:
{lines}{last}"""
_LAST = f"""
This is message {MOST_IN_A_ROW} of the fleet in a row. You get no more until a user has written."""
_HELD = f"{MOST_IN_A_ROW} fleet messages came in a row, so the next one was delayed; it follows this turn"


class Tidings:
    """Sends sessions the results of the runs that they started. Each pending message is a durable action."""

    def __init__(self, core: Core, around: Around) -> None:
        self._core, self._around = core, around

    def do(self, session: str, stopping: Callable[[], bool]) -> None:
        """Send the session one message. If it cannot be sent now, try again at the feed's next event."""
        with self._core.ports.ledger.transaction() as tx:
            row = tx.get(SessionRow, session)
            run = None if row is None else tx.get(Run, row.run)
        if run is None or row is None or is_left_alone(run, row):
            return
        try:
            notifies = self._around({}).defaults(run.project).notifies
        except PancodeError:  # Other readers report a broken settings file.
            return
        with unit_of_work(self._core) as work:
            action = find_pending(work.tx, session)
            if action is not None:
                send_update(work, action, load_chain(work.tx, session), notifies)

    def give_up(self, run: str, error: Exception) -> None:
        """Do nothing: the action stays for the next event."""


def send_update(work: Work, action: Action, session: SessionChain, notifies: bool) -> None:
    """Send one message about all runs of the action, if the session may get it now. `notifies`: the setting;
    if False, the results are dropped."""
    found = runs_in(work.tx, action)
    lines = [line for run in found if (line := line_of(work, run))]
    if not notifies or not lines:
        work.tx.delete(Action, action.id)
        return
    if not may_hear(work.tx, session) or all(is_midway(work, run) for run in found):
        return
    number = in_a_row(work.tx, session) + 1
    row = session.row
    if number <= MOST_IN_A_ROW:
        more = len(lines) - MOST_TOLD
        shown = [*lines[:MOST_TOLD], *([f"- and {more} more: call runs"] if more > 0 else [])]
        text = _WORD.format(lines="\n".join(shown), last=_LAST if number == MOST_IN_A_ROW else "")
        work.tx.delete(Action, action.id)
        work.signal(session.newest, ToldByFleet(text))
    # The delayed message itself follows the user's next turn.
    elif row is not None and f"({_HELD})" not in row.news:
        work.tx.put(replace(row, news=more_news(row.news, _HELD)))
        work.tell(row.run, "fleet", "runs that it started", "not reported yet", _HELD)


def runs_in(tx: Transaction, action: Action) -> list[Run]:
    return [run for name in runs_of(action) if (run := tx.get(Run, name)) is not None]


def line_of(work: Work, run: Run) -> str:
    """Return a line about the run, without its agent's text; empty if still open and waiting for no user."""
    core, tx = work.core, work.tx
    item = open_item(tuple(tx.find(Action, {"run": run.id})))
    question = None if item is None else item_of(run, item)
    how, need = "it has not ended", None
    if run.state is RunState.ENDED:
        usd, unknown = cost_of(attempts_of(tx, run))
        files = run.result.get("files_changed")
        changed = count_noun(len(files) if isinstance(files, list | tuple) else 0, "changed file")
        cost, state = f"{format_usd(usd)}{' and unknown' * unknown}", format_outcome(str(run.outcome))
        how, need = f"{state}, {cost}, {changed}", need_of_run(load_left(core, tx, run, None))
        flow = find_larger(core, tx, run.workflow)
        if flow is not None and not (flow.is_open or flow.is_done):  # each of its runs may be done
            name, why = f"{flow.id} ({flow.title})", flow.reason[:_REASON]
            how += f"; workflow {name}: {flow.state}, not done: {why}"
    elif question is None:
        return ""
    waits = ""
    if question is not None:
        waits = f"; it waits for a user: {question.kind}: {question.command}"
    elif need is not None:
        waits = f"; it waits for a user: {need.group.value.replace('_', ' ')}: {need.command}"
    return f"- {run.id} ({run.agent}): {how}{waits}"


def is_midway(work: Work, run: Run) -> bool:
    """Whether the run is a finished step of an unfinished workflow; a step alone is not worth a message."""
    flow = find_larger(work.core, work.tx, run.workflow)
    return flow is not None and flow.is_open and not flow.stays_open and run.outcome is Outcome.DONE


def is_left_alone(run: Run, row: SessionRow) -> bool:
    """Whether a user or a limit ended or suspended the run, so that only a user's message continues it."""
    if row.closed_by or row.chosen_by or run.stop_asked is not None or not is_orchestrator(run):
        return True
    if stop_of(run) in (TurnStop.CANCELLED, TurnStop.LIMIT):
        return True
    rests = run.outcome is Outcome.DONE and run.result.get("rests") in _GOES_ON
    return run.state is RunState.ENDED and not rests


def may_hear(tx: Transaction, session: SessionChain) -> bool:
    """Whether the session waits for a message and the fleet is not paused; users' messages come first."""
    run, row = session.newest, session.row
    if row is None or is_left_alone(run, row) or tx.get(Setting, PAUSED) is not None:
        return False
    waits_for_message = session.item is not None and session.item.kind is not ItemKind.LANDING
    if session.continues or select_undelivered(session.words) or waits_for_message:
        return False
    return (
        not list_next_runs(run)
        if run.state is RunState.ENDED
        else session.state is SessionState.WAITS_FOR_YOU
    )


def in_a_row(tx: Transaction, session: SessionChain) -> int:
    """Return how many fleet messages the session got since the last message of a user."""
    count = 0
    for run in reversed(session.runs):
        for word in reversed(words_of(tx, run)):
            if word.by not in OWN_NAMES:
                return count
            count += word.by == FLEET
        if opener_of(run) != FLEET:
            return count
    return count
