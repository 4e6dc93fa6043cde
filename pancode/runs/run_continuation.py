"""`runs continue`: a new run continues from an old one's result, in its session if the session is kept."""

from __future__ import annotations

from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, SessionRow
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run
from pancode.runs.life.continuations import LeftOver, WayBack, continue_request
from pancode.runs.life.conversation import (
    as_interactive_run,
    is_orchestrator,
    is_turn_lost,
    more_news,
    must_be_free,
    must_have_ended,
)
from pancode.runs.request import DispatchRequest
from pancode.runs.retry import is_reachable, make_request, unpin_request
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import is_taken, session_of, words_of


def continue_run(
    core: Core,
    around: Surroundings,
    old: Run,
    remark: str,
    by: str | Run,
    answers: str | None = None,
    program: str = "",
    session: str = "",
) -> Dispatched:
    """Dispatch the next run, through the same ten gates. UsageError; RefusedError if another was faster.

    `by`: a user, or a requesting run: the next run is then its child, with at most its rights and budget and
    without a user's approval. `session`: the next run is an interactive run of this session, if its program
    takes turns.
    """
    must_have_ended(old)
    with core.ports.ledger.transaction() as tx:
        if is_taken(tx, old):
            # Check this before a snapshot, which takes time; it is checked again when the run is queued.
            must_be_free(old)
    inside = by if isinstance(by, Run) else None
    again = make_request(core, old, str(by) if inside is None else inside.id)
    if inside is not None:
        again = replace(again, confirmed=False, land=False)
    if session and RUNTIMES[old.runtime].takes_turns:
        again = as_interactive_run(again, session)
    request = make_next_request(core, old, again, remark, answers, program)
    return dispatch_run(core, around, request, None if inside is None else inside.id)


def make_next_request(
    core: Core, old: Run, again: DispatchRequest, remark: str, answers: str | None = None, program: str = ""
) -> DispatchRequest:
    """Return the request for the run after the old one. In a session, it starts at the restored checkpoint,
    if any, and includes the session's news since the last message."""
    with core.ports.ledger.transaction() as tx:
        left, session = LeftOver(words_of(tx, old)), session_of(tx, old)
        if session is not None:
            left = replace(left, news=_list_news(tx, session, old), back=_way_back(tx, session))
    return unpin_request(
        core, continue_request(old, again, remark, is_reachable(core, old), answers, program, left)
    )


def _list_news(tx: Transaction, session: SessionRow, old: Run) -> tuple[str, ...]:
    """Return the session's news. After a lost turn, these name the runs that the orchestrator started in that
    turn, because its memory may lack them and it would start them again."""
    if not is_orchestrator(old) or not is_turn_lost(old):
        return session.news
    found = tx.find(Run, {"parent": old.id}, order="created_ms", descending=True, limit=MOST_RUNS)
    begun = ", ".join(f"{one.id} ({one.agent}, {one.outcome or one.state})" for one in found)
    lost = "your program ended during a turn, which is lost; the newest runs that it had started"
    return more_news(session.news, f"{lost}: {begun}") if begun else session.news


MOST_RUNS = 8


def _way_back(tx: Transaction, session: SessionRow) -> WayBack | None:
    """Return the checkpoint to which a user has restored the session, or None."""
    wanted = session.restored
    at = tx.get(Run, str(wanted["run"])) if wanted else None
    return None if at is None else WayBack(at, str(wanted["name"]), str(wanted["told"]))


def go_on(core: Core, around: Surroundings, old: Run, by: str, past_cap: bool = False) -> Dispatched:
    """Start the next interactive run with the undelivered messages. RefusedError if the session was ended.

    `past_cap`: a user approved continuing past the cap, and the session's ceiling allows it; UsageError if
    the question about the cap is no longer open.
    """
    again = replace(make_request(core, old, by), by_itself=not past_cap, past_cap=past_cap)
    return dispatch_run(core, around, make_next_request(core, old, again, ""))
