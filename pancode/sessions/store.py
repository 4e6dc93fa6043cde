"""Updates a session's row when its next interactive run is added: its title, terms and ceiling."""

from __future__ import annotations

from decimal import Decimal

from pancode.budget import books
from pancode.kernel.records import Run, SessionRow
from pancode.kernel.values import replace
from pancode.runs.ceilings import cap_session
from pancode.runs.facts import Lineage, SessionTurn
from pancode.runs.features import Joining
from pancode.runs.life.conversation import must_be_open, terms_of
from pancode.runs.remaining_budget import find_cap_request, session_view
from pancode.runs.unit_of_work import Work
from pancode.runs.views import chain_of, session_of

MOST_TITLE = 200


def join_session(work: Work, joining: Joining) -> Run:
    """Record the run as its session's newest interactive run; if a user approved continuing past the cap,
    raise the ceiling by the amount that the run needs. RefusedError."""
    tx, run = work.tx, joining.run
    session = _with_interactive_run(session_of(tx, run), run, chain_of(tx, run), joining.budget)
    tx.put(session)
    # Raise the ceiling by the amount that the previous run's question named.
    if SessionTurn.of(run).past_cap:
        view = session_view(work.core, tx, run.session)
        usd = books.with_room(
            view.ceilings.usd, view.balance, find_cap_request(tx, Lineage.of(run).continues)
        )
        if usd != view.ceilings.usd:
            cap_session(work, session, usd, run.created_by)
    return run


def _with_interactive_run(
    known: SessionRow | None, run: Run, before: list[Run], budget: Decimal | None
) -> SessionRow:
    """Return the session with this run added. RefusedError if the run starts automatically and a user has
    ended the session."""
    on_cap = "ask" if SessionTurn.of(run).more_usd else "rest"
    now = {"run": run.id, "newest_ms": run.created_ms, "on_cap": on_cap, **terms_of(run).as_json()}
    if known is None:
        first = (*before, run)[0]
        title = line_of(first.task or " ".join(first.argv or ()))
        return SessionRow(id=first.id, title=title, ceiling=None if before else budget, **now)
    if SessionTurn.of(run).by_itself:
        must_be_open(known)  # A user may have ended the session since the undelivered messages were read.
    return replace(known, **now, chosen_by=None, closed_by=None, news=(), restored={})


def line_of(text: str) -> str:
    """Return the beginning of a text, as one line."""
    return " ".join(text.split())[:MOST_TITLE]
