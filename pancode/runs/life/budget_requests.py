"""Decides what a running attempt may spend beyond its reservation, and books what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from node_agent.wire import event
from node_agent.wire.control import BudgetAnswers
from pancode.budget import books
from pancode.budget.books import BudgetScope
from pancode.kernel.formatting import format_usd
from pancode.kernel.values import replace
from pancode.runs.life.case import is_free
from pancode.runs.life.changes import Changes
from pancode.runs.life.inbox import is_lifted_for_good
from pancode.runs.life.jobs import identity_of
from pancode.runs.receipts.rules import find_excess, most_usd


def record_progress(made: Changes, told: event.Progress) -> Changes:
    """Record the usage so far. What was spent beyond the reservation is reserved at once, so that it counts
    under the ceilings; what exceeds the job's limit is shown as disputed."""
    body = told.model_copy(update=find_excess(told, made.run, made.case.ordered()))
    beyond = books.subtract_amount(told.cost_usd or books.ZERO, body.cost_usd or books.ZERO)
    usage = {**made.attempt.usage, **body.model_dump(mode="json", exclude={"kind"})}
    usage |= {books.DISPUTED: f"{beyond:f}" if beyond else None}
    if body.cost_usd == 0 and is_free(made.run):
        usage["cost_source"] = "local"
    made = made.put(replace(made.attempt, usage=usage))
    return _reserve_at_least(made, body.cost_usd or books.ZERO, books.REPORTED)


def _reserve_at_least(made: Changes, usd: Decimal, note: str = "") -> Changes:
    attempt = made.attempt
    if usd <= attempt.reserved_usd or not books.find_reserved(made.case.entries, attempt.attempt):
        return made
    made = made.book(books.raise_reserved(made.case.entries, made.case.account, usd, made.now.stamp, note))
    return made.put(replace(made.attempt, reserved_usd=usd))


def answer_budget_request(
    made: Changes, body: event.BudgetAsked, budget_scopes: Sequence[BudgetScope]
) -> Changes:
    """Raise the attempt's reservation, if possible to twice as much so that it seldom asks, and answer."""
    reserved, most = made.attempt.reserved_usd, most_usd(made.run, made.case.ordered())
    # The balances include only what was reserved before the events that are decided now.
    at_first = made.before.attempts[made.attempt.attempt].reserved_usd
    usd, words = min(max(body.usd, 2 * reserved), most), ""
    if body.usd > most:
        words = f"the limit of this run is {format_usd(most)}; set a higher one with --budget"
    for scope in () if is_lifted_for_good(made.run) else budget_scopes:
        ceiling = scope.ceilings.usd
        room = None if ceiling is None else books.subtract_amount(ceiling, books.counted_usd(scope.balance))
        if room is not None and at_first + room < usd:
            usd = max(at_first + room, reserved)
            if usd < body.usd:
                words = (
                    f"the ceiling of {scope.balance.scope} has no room for more "
                    f"({books.in_words(scope.balance)}, ceiling: {format_usd(ceiling)})"
                )
    made = _reserve_at_least(made, usd)
    verdict = "refused" if words else "reserved"
    made = made.tell("budget", made.lease.node, verdict, words or f"{format_usd(usd)} are reserved now")
    answers = BudgetAnswers(identity=identity_of(made.lease), number=body.number, usd=usd, words=words)
    return made.send(made.lease.node, answers)
