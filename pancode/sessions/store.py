"""Sessions as use cases see them: the row and its chain of runs, its rights, its money."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pancode.budget import books
from pancode.kernel.errors import NotFoundError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, SessionRow
from pancode.kernel.values import replace
from pancode.runs.ceilings import cap_session
from pancode.runs.core import Core
from pancode.runs.facets import Lineage
from pancode.runs.life.continuations import leads, must_be_open, nexts, payer_of, terms_of
from pancode.runs.life.orders import rules_of
from pancode.runs.life.turns import SessionTurn
from pancode.runs.placement.placement import is_unheld, is_walled
from pancode.runs.remaining_budget import left_for_children, session_view
from pancode.runs.request import DispatchRequest, Parent, ScopeView
from pancode.runs.views import chain_of, hands_now, session_of

if TYPE_CHECKING:
    from pancode.runs.unit_of_work import Work

MOST_TITLE = 200


def joined_chain(run: Run, old: Run | None) -> Run:
    """Return the run with its session and place behind the old one. It begins a session where another run
    went on from the old one, and as the first sitting that was begun in a run's files.
    """
    if old is None or nexts(old) or run.session not in ("", old.session):
        return replace(run, session=run.id, place=1)
    return replace(run, session=old.session, place=old.place + 1)


def add_sitting(work: Work, run: Run, budget: Decimal | None) -> None:
    """Record the run as its session's newest sitting. `budget`: what a new session may cost. RefusedError."""
    work.tx.put(_with_sitting(session_of(work.tx, run), run, chain_of(work.tx, run), budget))


def _with_sitting(
    known: SessionRow | None, run: Run, before: list[Run], budget: Decimal | None
) -> SessionRow:
    """Return the session with this sitting. RefusedError: it comes by itself, and a person ended the
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


def payer(core: Core, request: DispatchRequest, above: Parent | None) -> ScopeView | None:
    """Return the books of the session that pays: a sitting's, or that of an orchestrator's child; None: none
    pays.

    A new session has its ceiling in the request.
    """
    by_ceiling = above is not None and above.leads
    name = request.session if request.turns else request.charged_to if by_ceiling else ""
    if not request.turns and not name:
        return None
    with core.ports.ledger.transaction() as tx:
        view = session_view(core, tx, name)
        usd = view.ceilings.usd
        if request.past_cap:  # as it is once this is queued
            usd = books.with_room(usd, view.balance, _asked_for(tx, request.continues))
    new = not name and request.budget is not None
    return replace(view, ceilings=books.Ceilings(request.budget) if new else replace(view.ceilings, usd=usd))


def make_room(work: Work, run: Run) -> None:
    """Raise the session's ceiling so far that it has room for what the question of the run before named."""
    view, session = session_view(work.core, work.tx, run.session), session_of(work.tx, run)
    usd = books.with_room(view.ceilings.usd, view.balance, _asked_for(work.tx, Lineage.of(run).continues))
    if session is not None and usd != view.ceilings.usd:
        cap_session(work, session, usd, run.created_by)


def _asked_for(tx: Transaction, before: str | None) -> Decimal:
    """Return the USD that the earlier run's question asked for when its cap was reached."""
    old = tx.get(Run, before) if before is not None else None
    return Decimal((old and SessionTurn.of(old).more_usd) or "0")


def parent_of(core: Core, run_id: str) -> Parent:
    """Return what a run that dispatches may do, and what it has left. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id)
        if run is None:
            raise NotFoundError(f"no run {run_id} that could be the parent", fix="pancode runs")
        left = left_for_children(tx, run)
        hands = hands_now(tx, run)
    reads = run.read_only and not leads(run)  # an orchestrator only reads, but its children may write
    return Parent(
        run.id,
        *hands,
        reads,
        run.depth,
        is_unheld(run),
        left,
        is_walled(run),
        session=payer_of(run),
        rules=rules_of(run.rules),
        leads=leads(run),
    )
