"""The row of a session as its next interactive run joins it: its title, its terms, its ceiling."""

from __future__ import annotations

from decimal import Decimal

from pancode.budget import books
from pancode.kernel.records import Run, SessionRow
from pancode.kernel.values import replace
from pancode.runs.ceilings import cap_session
from pancode.runs.facets import Lineage, SessionTurn
from pancode.runs.features import Joining
from pancode.runs.life.successors import must_be_open
from pancode.runs.life.turns import terms_of
from pancode.runs.remaining_budget import asked_at_cap, session_view
from pancode.runs.unit_of_work import Work
from pancode.runs.views import chain_of, session_of

MOST_TITLE = 200


def join_session(work: Work, joining: Joining) -> Run:
    """Record the run as its session's newest interactive run; where a user has said yes to the question of
    the cap, make room for it. RefusedError.
    """
    tx, run = work.tx, joining.run
    session = _with_interactive_run(session_of(tx, run), run, chain_of(tx, run), joining.budget)
    tx.put(session)
    if SessionTurn.of(
        run
    ).past_cap:  # so far that there is room for what the question of the run before named
        view = session_view(work.core, tx, run.session)
        usd = books.with_room(view.ceilings.usd, view.balance, asked_at_cap(tx, Lineage.of(run).continues))
        if usd != view.ceilings.usd:
            cap_session(work, session, usd, run.created_by)
    return run


def _with_interactive_run(
    known: SessionRow | None, run: Run, before: list[Run], budget: Decimal | None
) -> SessionRow:
    """Return the session with this interactive run. RefusedError: it comes by itself, and a user ended the
    session."""
    on_cap = "ask" if SessionTurn.of(run).more_usd else "rest"
    now = {"run": run.id, "newest_ms": run.created_ms, "on_cap": on_cap, **terms_of(run).as_json()}
    if known is None:
        first = (*before, run)[0]
        title = line_of(first.task or " ".join(first.argv or ()))
        return SessionRow(id=first.id, title=title, ceiling=None if before else budget, **now)
    if SessionTurn.of(run).by_itself:
        must_be_open(known)  # somebody may have ended it since the words that are left were seen
    return replace(known, **now, chosen_by=None, closed_by=None, news=(), restored={})


def line_of(text: str) -> str:
    """Return the beginning of a text, on one line."""
    return " ".join(text.split())[:MOST_TITLE]
