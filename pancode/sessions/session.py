"""A session: its chain of runs, how the chain is found, and the state that interfaces show."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from node_agent.wire.identity import Mark
from pancode.budget import books
from pancode.config.proposals import proposed_by
from pancode.conversation import answers as shapes
from pancode.kernel import records
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import NotFoundError
from pancode.kernel.names import LAST, not_found
from pancode.kernel.ports import Grouping, Transaction
from pancode.kernel.states import SessionState
from pancode.runs.core import Core
from pancode.runs.facts import Caller, SessionTurn
from pancode.runs.life.conversation import (
    ended_turns,
    is_between_turns,
    is_orchestrator,
    is_turn_lost,
    payer_of,
    select_undelivered,
    terms_of,
)
from pancode.runs.life.inbox import InboxItem, ItemKind, item_of, kind_of, open_item
from pancode.runs.receipts.rules import usage_of_all
from pancode.runs.remaining_budget import session_view
from pancode.runs.retry import keeps_node
from pancode.runs.views import (
    attempts_of,
    chain_of,
    find_run,
    format_iso,
    newest_lease,
    node_of,
    run_shape,
    session_of,
    unknown_since,
    usage_of,
    words_of,
)
from pancode.sessions.store import line_of

MOST_TASKS = 1_000


@dataclass(frozen=True, slots=True)
class SessionChain:
    """A session's runs, oldest first, with the newest run's lease and the question that waits for a user."""

    runs: tuple[records.Run, ...]
    row: records.SessionRow | None
    """The session's row; None if its newest run is not interactive."""
    words: tuple[records.StoredMessage, ...]
    """The messages that users have sent to the newest run."""
    lease: records.Lease | None
    proposal: records.Action | None
    continues: bool
    """Whether the next run starts automatically, with messages that came too late for the newest one."""
    proposed: InboxItem | None = None
    """A request that the session made outside of its turn: to change the configuration or land a change."""

    @property
    def id(self) -> str:
        """Return the id of the chain's first run."""
        return self.runs[0].id

    @property
    def newest(self) -> records.Run:
        return self.runs[-1]

    @property
    def item(self) -> InboxItem | None:
        """Return the question that waits for a user; None if none, or if only a change waits for landing."""
        item = None if self.proposal is None else item_of(self.newest, self.proposal)
        return self.proposed if item is None or item.kind is ItemKind.LANDING else item

    @property
    def state(self) -> SessionState:
        run, mark = self.newest, "" if self.lease is None else self.lease.mark
        if self.item not in (None, self.proposed):
            return SessionState.ASKS
        if run.state is records.RunState.ENDED:
            if self.row is None or self.row.closed_by is not None:
                return SessionState.ENDED
            if is_turn_lost(run):
                return SessionState.TURN_LOST
            return SessionState.SUSPENDED
        if run.state is records.RunState.PENDING:
            offered = self.lease is not None and self.lease.state is records.LeaseState.OFFERED
            return SessionState.STARTS if offered else SessionState.WAITS_FOR_SLOT
        if mark in ("", Mark.ACCEPTED, Mark.PREPARED):
            return SessionState.STARTS
        idle = run.takes_turns and mark == Mark.SPAWNED and is_between_turns(run, self.words)
        if not idle:
            return SessionState.WORKS
        # A waiting landing does not block a turn.
        if self.proposed is None or self.proposed.kind is ItemKind.LANDING:
            return SessionState.WAITS_FOR_YOU
        return SessionState.ASKS


def load_chain(tx: Transaction, text: str) -> SessionChain:
    """Return the session named by a run's id, a prefix of it, or `last`. NotFoundError; UsageError if the
    text is ambiguous.

    A run that is not interactive also counts as a session, with the earlier and later runs of its chain.
    """
    return of_run(tx, _find_run(tx, text))


def of_run(tx: Transaction, run: records.Run) -> SessionChain:
    """Return the session that contains this run."""
    runs = tuple(chain_of(tx, run))
    actions = tuple(tx.find(records.Action, {"run": runs[-1].id}))
    continues = any(action.kind is records.ActionKind.GO_ON for action in actions)
    row = session_of(tx, runs[-1])
    proposed = proposed_by(tx, [run.id for run in runs])
    if proposed is None and is_orchestrator(runs[-1]):
        proposed = proposed_landing(tx, payer_of(runs[-1]))
    words, lease = tuple(words_of(tx, runs[-1])), newest_lease(tx, runs[-1])
    return SessionChain(runs, row, words, lease, open_item(actions), continues, proposed)


def proposed_landing(tx: Transaction, session: str) -> InboxItem | None:
    """Return the oldest landing that the session has requested and that is still undecided, or None."""
    actions = [one for one in tx.find(records.Action) if one.kind is records.ActionKind.USER]
    for action in sorted(actions, key=lambda one: (one.at_ms, one.id)):
        run = tx.get(records.Run, action.run)
        if run is None or Caller.of(run).charged_to != session or kind_of(run) is not ItemKind.LANDING:
            continue
        if "asked_by" in run.landing:
            return item_of(run, action)
    return None


def _find_run(tx: Transaction, text: str) -> records.Run:
    if text.partition("@")[0] != LAST:
        try:
            return find_run(tx, text)
        except NotFoundError as missing:
            if not str(missing).startswith("run "):  # an agent's name
                raise
            known = [run.id for run in _list_newest(tx, 200)]
            raise not_found("session", text, known, "pancode sessions") from missing
    found = _list_newest(tx, 1)
    if not found:
        raise not_found("session", LAST, [], "start a session: pancode chat")
    return found[0]


def _list_newest(tx: Transaction, limit: int) -> list[records.Run]:
    """Return each session's newest interactive run; the session that was active last comes first."""
    rows = tx.find(records.SessionRow, order="newest_ms", descending=True, limit=limit)
    return [run for row in rows if (run := tx.get(records.Run, row.run)) is not None]


def describe_session(core: Core, tx: Transaction, session: SessionChain) -> shapes.SessionShape:
    """Return the session as JSON."""
    first, run = session.runs[0], session.newest
    row, item, turn = session.row, session.item, SessionTurn.of(run).turn
    attempts = [attempt for one in session.runs for attempt in attempts_of(tx, one)]
    return make_answer(
        shapes.SessionShape,
        run,
        session=session.id,
        state=session.state.value,
        run=run.id,
        node=node_of(tx, run),
        heard=run.state in (records.RunState.PENDING, records.RunState.ENDED)
        or session.lease is None
        or not unknown_since(core, tx, session.lease),
        program_mode=terms_of(run).program_mode,
        next=_describe_next(core, tx, session),
        title=line_of(first.task or " ".join(first.argv or ())) if row is None else row.title,
        last_words=line_of(session.words[-1].text if session.words else run.task),
        turn=None if turn is None else {name: getattr(turn, name) for name in _OF_A_TURN},
        waiting=len(select_undelivered(session.words)),
        goes_on=session.continues,
        asks=None if item is None else _describe_question(item),
        usage=usage_of(usage_of_all(attempts)),
        money=_describe_money(core, tx, session, attempts),
        interactive_runs=_interactive_runs(session),
        created_by=first.created_by,
        created_at=format_iso(first.created_ms),
        changed_at=format_iso(run.finished_ms or (turn and turn.at_ms) or run.created_ms),
    )


def _describe_next(core: Core, tx: Transaction, session: SessionChain) -> shapes.NextTerms | None:
    row = session.row
    if row is None or row.chosen_by is None:
        return None
    return make_answer(
        shapes.NextTerms, row, memory=keeps_node(session.newest, row, core.views(tx)), by=row.chosen_by
    )


_OF_A_TURN = ("number", "stop", "why", "tokens", "cost_usd", "cost_source")


def _describe_money(
    core: Core, tx: Transaction, session: SessionChain, attempts: list[records.Attempt]
) -> shapes.SessionMoney:
    """Return the amounts that may be spent and that are left, as for a dispatch; but the running interactive
    run counts with the cost that its node reported, not with its whole reservation."""
    run, now = session.newest, attempts[-1] if attempts else None
    view = session_view(core, tx, session.id)
    used = books.counted_usd(view.balance)
    if run.takes_turns and run.state is not records.RunState.ENDED and now is not None and now.run == run.id:
        # An interactive run from before sessions had a budget scope has no reservation there.
        due = min(now.reserved_usd, view.balance.reserved_usd)
        used = books.add_amounts(books.subtract_amount(used, due), books.known_cost(now.usage) or books.ZERO)
    ceiling, interactive_run = view.ceilings.usd, run.limits.get("usd") if run.takes_turns else None
    left = None if ceiling is None else max(books.subtract_amount(ceiling, used), books.ZERO)
    return {
        "ceiling_usd": None if ceiling is None else f"{ceiling:f}",
        "left_usd": None if left is None else f"{left:f}",
        "sitting_usd": None if interactive_run is None else str(interactive_run),
        "runs_usd": f"{_of_its_runs(tx, session):f}" if is_orchestrator(run) else None,
    }


def _of_its_runs(tx: Transaction, session: SessionChain) -> Decimal:
    """Return the booked cost of runs that an orchestrator's session started, without the session's own."""
    of_it: dict[str, tuple[str | int | None, ...]] = {
        "scope": (books.session_scope(session.id),),
        "kind": (records.EntryKind.SPEND, records.EntryKind.CORRECT, records.EntryKind.UNKNOWN),
    }
    own = {one.id for one in session.runs}
    found = tx.tally(records.BookEntry, Grouping(by=("run",), sums=("usd",), among=of_it))
    return books.add_amounts(*(Decimal(one.sums[0]) for one in found if one.key[0] not in own))


def _describe_question(item: InboxItem) -> shapes.SessionQuestion:
    plan = None if item.plan is None else str(item.plan["digest"])
    return make_answer(shapes.SessionQuestion, item, plan=plan, yes=list(item.flags))


def _interactive_runs(session: SessionChain) -> list[shapes.InteractiveRunShape]:
    backs = {} if session.row is None else session.row.backs
    before = (None, *(backs.get(run.id, run.id) for run in session.runs))
    return [_interactive_run(run, begins) for run, begins in zip(session.runs, before, strict=False)]


def _interactive_run(run: records.Run, begins: str | None) -> shapes.InteractiveRunShape:
    commit = str(run.result["commit"]) if run.result.get("commit") else None
    return make_answer(
        shapes.InteractiveRunShape, run, run=run.id, begins=begins, turns=ended_turns(run), commit=commit
    )


def list_tasks(core: Core, text: str) -> shapes.TasksShape:
    """Return the runs that a session's runs have dispatched, newest first."""
    with core.ports.ledger.transaction() as tx:
        session = load_chain(tx, text)
        found = [child for run in session.runs for child in tx.find(records.Run, {"parent": run.id})]
        found.sort(key=lambda run: run.created_ms, reverse=True)
        return {"session": session.id, "runs": [run_shape(core, tx, run) for run in found[:MOST_TASKS]]}


def get_session(core: Core, text: str) -> shapes.SessionShape:
    """Return one session, named by any of its runs."""
    with core.ports.ledger.transaction() as tx:
        return describe_session(core, tx, load_chain(tx, text))


def list_sessions(core: Core, limit: int) -> list[shapes.SessionShape]:
    """Return the newest sessions."""
    with core.ports.ledger.transaction() as tx:
        return [describe_session(core, tx, one) for one in map(partial(of_run, tx), _list_newest(tx, limit))]
