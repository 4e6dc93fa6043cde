"""What remains of a run's limit for its children, and of a session's ceiling for its runs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from pancode.agents.runtimes import RUNTIMES
from pancode.budget import books
from pancode.budget.books import BudgetScope
from pancode.kernel import values
from pancode.kernel.errors import NotFoundError, RefusedError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Attempt, Balance, BookEntry, Run, RunState
from pancode.kernel.visitors import Confined
from pancode.runs.admission.gates import refusal_error
from pancode.runs.admission.gates.capacity import DO_IT_THERE, nothing_left, used_up
from pancode.runs.core import Core
from pancode.runs.facts import Caller, ModelChoice, Provision, SessionTurn
from pancode.runs.life.conversation import is_between_turns, is_orchestrator, payer_of
from pancode.runs.life.jobs import rules_of
from pancode.runs.placement.placement import is_unheld, needs_sandbox
from pancode.runs.request import DispatchRequest, Parent, ScopeView
from pancode.runs.views import hands_now, not_ended, words_of


def session_view(core: Core, tx: Transaction, session: str) -> ScopeView:
    """Return the session's budget scope, in which open runs reserve their limits; `session` empty: a new
    session. Without a ceiling, open runs are not read."""
    (budget_scope,) = core.read_scopes(tx, [books.session_scope(session)])
    reserves = session and budget_scope.ceilings.usd is not None
    balance = _reserve_limits(tx, budget_scope.balance) if reserves else budget_scope.balance
    unsure = balance.unknown_runs or balance.disputed_usd
    entries = tx.find(BookEntry, {"scope": balance.scope}, order=None) if unsure else []
    unsettled = dict.fromkeys((*books.unknown_runs(entries), *books.find_disputed(entries)))
    return ScopeView(balance, budget_scope.ceilings, tuple(map(_SETTLE.format, unsettled)))


_SETTLE = (
    "enter what {0} cost: pancode budget settle {0} --usd X (in future: add its model's price to prices.json)"
)


def scope_view(tx: Transaction, budget_scope: BudgetScope, due: books.Amount) -> ScopeView:
    """Return a view of a budget scope. If it lacks room for `due`, include how to free reservations: by
    settling a run of unknown cost, or by suspending an interactive run that waits for a message."""
    if books.is_within_ceilings(budget_scope.balance, budget_scope.ceilings, due):
        return ScopeView(budget_scope.balance, budget_scope.ceilings)
    entries, frees = tx.find(BookEntry, {"scope": budget_scope.balance.scope}, order=None), []
    unknown = books.unknown_runs(entries)
    for name in books.sum_reserved(entries):
        run = tx.get(Run, name)
        if name in unknown:
            frees.append(_SETTLE.format(name))
        elif run is not None and run.takes_turns and is_between_turns(run, words_of(tx, run)):
            frees.append(f"suspend {name}, which waits for a message: pancode sessions rest {name}")
    return ScopeView(budget_scope.balance, budget_scope.ceilings, tuple(frees))


def find_payer(core: Core, request: DispatchRequest, above: Parent | None) -> ScopeView | None:
    """Return the budget scope of the session that pays, which is that of an interactive run or of an
    orchestrator's child; None: no session pays. The ceiling of a new session is in the request."""
    by_ceiling = above is not None and above.leads
    name = request.session if request.turns else request.charged_to if by_ceiling else ""
    if not request.turns and not name:
        return None
    with core.ports.ledger.transaction() as tx:
        view = session_view(core, tx, name)
        usd = view.ceilings.usd
        if request.past_cap:  # Use the ceiling as it will be after this request is queued.
            usd = books.with_room(usd, view.balance, find_cap_request(tx, request.continues))
    new = not name and request.budget is not None
    ceilings = books.Ceilings(request.budget) if new else replace(view.ceilings, usd=usd)
    return replace(view, ceilings=ceilings)


def find_cap_request(tx: Transaction, before: str | None) -> Decimal:
    """Return the USD that the earlier run asked to add when it reached its cost cap."""
    old = tx.get(Run, before) if before is not None else None
    return Decimal((old and SessionTurn.of(old).more_usd) or "0")


def find_least(*amounts: Decimal | None) -> Decimal | None:
    """Return the lowest of these limits; None: there is no limit."""
    return min((usd for usd in amounts if usd is not None), default=None)


def left_for_children(tx: Transaction, run: Run) -> Decimal | None:
    """Return the USD of the run's limit that remain for its children, after the actual or possible cost of
    the run and its other children; None: no limit.

    The result is at most what remains of the run's parent, including this run's share there. An
    orchestrator's limit is for its own model: its children have their own limits, and its session has a
    ceiling for all of them.
    """
    limit = limit_usd(run)
    if limit is None or is_orchestrator(run):
        return None
    committed = _sum_committed(tx, run)
    room = limit - committed
    above = tx.get(Run, run.parent) if run.parent is not None else None
    beyond = left_for_children(tx, above) if above is not None else None
    if beyond is not None:
        room = min(room, beyond + _claim(run, committed) - committed)
    return max(room, books.ZERO)


def _sum_committed(tx: Transaction, run: Run) -> Decimal:
    """Return the run's cost so far plus the budgets of its children. The reservation of the run's active
    attempt is not included, as the children are paid from it."""
    entries = tx.find(BookEntry, {"run": run.id})
    if run.state is RunState.ENDED:
        spent = books.sum_used(entries, run.attempt + 1)
    else:
        spent = books.sum_used(entries, run.attempt) + _find_reported(tx, run)
    children = tx.find(Run, {"parent": run.id})
    return sum((_claim(child, _sum_committed(tx, child)) for child in children), spent)


def _claim(run: Run, committed: Decimal) -> Decimal:
    """Return the amount to count for a child run: its whole limit until it has ended, even if its estimate is
    lower. A user's own program counts 0 unless the user sets its budget."""
    if run.state is RunState.ENDED:
        return committed
    limit = None if RUNTIMES[run.runtime].own else limit_usd(run)
    return max(run.estimate_usd if limit is None else limit, committed)


def _reserve_limits(tx: Transaction, balance: Balance) -> Balance:
    """Return the session's balance as if each open run that its orchestrator started reserved its whole
    limit. Such a run reserves its estimate, and may cost more. Its own children are paid from its limit."""
    session, more = balance.scope.partition(":")[2], books.ZERO
    for run in not_ended(tx):
        if Caller.of(run).charged_to == session and _is_led(tx, run):
            beyond = books.subtract_amount(
                _claim(run, _sum_committed(tx, run)), _sum_booked(tx, run, balance.scope)
            )
            more = books.add_amounts(more, max(beyond, books.ZERO))
    return values.replace(balance, reserved_usd=books.add_amounts(balance.reserved_usd, more))


def _is_led(tx: Transaction, run: Run) -> bool:
    """Whether only the run's own limit applies, as an orchestrator started it or its parent has ended."""
    above = tx.get(Run, run.parent) if run.parent is not None else None
    return above is None or is_orchestrator(above) or above.state is RunState.ENDED


def _sum_booked(tx: Transaction, run: Run, scope: str) -> Decimal:
    """Return the USD that are booked in this scope for the run and its children."""
    mine = [entry for entry in tx.find(BookEntry, {"run": run.id}) if entry.scope == scope]
    counted = (_sum_booked(tx, child, scope) for child in tx.find(Run, {"parent": run.id}))
    return sum(counted, books.counted_usd(books.sum_entries(scope, mine)))


def _find_reported(tx: Transaction, run: Run) -> Decimal:
    """Return the latest cost that the node has reported for the run's active attempt."""
    attempt = tx.get(Attempt, run.id, run.attempt)
    return (books.known_cost(attempt.usage) if attempt is not None else None) or books.ZERO


def limit_usd(run: Run) -> Decimal | None:
    """Return the most USD that the run may cost; None: it has no limit."""
    usd = run.limits.get("usd")
    return None if usd is None else Decimal(str(usd))


def within_parent(core: Core, tx: Transaction, run: Run) -> Run:
    """Return the run with its limit reduced to what its parent has left; runs queued earlier in this
    transaction already count. RefusedError if nothing is left."""
    # A user's own program may cost nothing.
    costs = not RUNTIMES[run.runtime].own or run.estimate_usd > 0
    parent = tx.get(Run, run.parent) if run.parent is not None and costs else None
    if parent is None:
        return run
    if is_orchestrator(parent):
        return _within_session(core, tx, run)
    left = left_for_children(tx, parent)
    if left == 0:
        raise RefusedError(nothing_left(parent.id), fix=DO_IT_THERE, code="refused_budget")
    return run if left is None else _cap_run(run, left)


def _within_session(core: Core, tx: Transaction, run: Run) -> Run:
    """Reduce the limit of a run that an orchestrator starts to what its session has left. A run without a
    budget of its own gets only half of that, or its estimate, so that another run can begin, too."""
    view = session_view(core, tx, payer_of(run))
    limit, left, named = limit_usd(run), view.left, Caller.of(run).named_usd
    if left is None:
        return run
    if left == 0 and not ModelChoice.of(run).free:
        raise refusal_error(used_up(view))
    fits = bool(named) and Decimal(named) <= left
    if not fits and (limit is None or limit >= left):
        left = min(left, max(run.estimate_usd, left / 2))
    return _cap_run(run, left)


def _cap_run(run: Run, usd: Decimal) -> Run:
    """Return the run with a limit of at most this amount."""
    limit = limit_usd(run)
    usd = usd if limit is None else min(limit, usd)
    limits = {**run.limits, "usd": f"{usd:f}"}
    return values.replace(run, limits=limits, estimate_usd=min(run.estimate_usd, usd))


def parent_of(core: Core, run_id: str) -> Parent:
    """Return the rights of a run that dispatches others, and its remaining budget. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        run = tx.get(Run, run_id)
        if run is None:
            raise NotFoundError(f"parent run {run_id} not found", fix="pancode runs")
        left = left_for_children(tx, run)
        mode, safety = hands_now(tx, run)
    # An orchestrator only reads files, but its children may write.
    reads = run.read_only and not is_orchestrator(run)
    return Parent(
        run.id,
        mode,
        safety,
        reads,
        run.depth,
        is_unheld(run),
        left,
        needs_sandbox(run),
        confined=Confined(Provision.of(run).confined),
        session=payer_of(run),
        rules=rules_of(run.rules),
        leads=is_orchestrator(run),
    )
