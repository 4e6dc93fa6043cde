"""Gate 8: whether the estimate fits under every ceiling. The hold is taken when all have passed."""

from __future__ import annotations

from decimal import Decimal
from math import ceil
from shlex import quote

from pancode.budget import books
from pancode.budget.books import is_period
from pancode.kernel.formatting import count_noun
from pancode.runs.admission.plan import GateVerdict, Plan, make_pass, make_refusal, make_warning
from pancode.runs.request import AdmissionView, ScopeView

NAME = "budget"
MOST_NAMED = 3
MORE_USD = Decimal(1)
"""The least raise, in USD, that is proposed where a session has used its whole budget."""


DO_IT_THERE = "do the work in that run itself, or start that run with a larger --budget"


def nothing_left(parent: str) -> str:
    return f"Dispatch blocked: run {parent} has used up its own budget"


def judge(plan: Plan, view: AdmissionView) -> GateVerdict:
    due, parent = plan.due, view.parent
    if parent is not None and parent.usd_left == 0 and not plan.runtime.own:
        return make_refusal(NAME, nothing_left(parent.run), DO_IT_THERE)
    session = () if view.session is None else (view.session,)
    for scope in session:
        if scope.left == 0 and not plan.free:
            return used_up(scope)
    for scope in (*view.scopes, *session):
        if not books.is_within_ceilings(scope.balance, scope.ceilings, due):
            words = books.explain_refusal(scope.balance, scope.ceilings, due)
            return make_refusal(NAME, words, _room_for(scope, due), lifts="budget")
    words = f"estimated ${due.usd:.2f}, {_room(view)}"
    if view.unknown:
        more = len(view.unknown) - MOST_NAMED
        names = ", ".join(view.unknown[:MOST_NAMED]) + (
            f" and {count_noun(more, 'other')}" if more > 0 else ""
        )
        fix = f"pancode budget settle {view.unknown[0]} --usd X"
        return make_warning(NAME, f"{words}; the cost of {names} is unknown", fix)
    return make_pass(NAME, words)


def used_up(scope: ScopeView) -> GateVerdict:
    """The refusal of a run for which its session has nothing left."""
    balance, ceiling = scope.balance, scope.ceilings.usd
    words = (
        f"Dispatch blocked: the budget is used up for {balance.scope.replace(':', ' ')} "
        f"({books.in_words(balance)}, ceiling: ${ceiling:.2f})"
    )
    return make_refusal(NAME, words, _room_for(scope, books.Amount(MORE_USD)))


def _room_for(scope: ScopeView, due: books.Amount) -> str:
    """Return the commands that make room: free what is held, or raise the ceiling."""
    return "; or ".join((*scope.frees[:1], _raised(scope, due)))


def _raised(scope: ScopeView, due: books.Amount) -> str:
    """Return the command that raises the ceiling just enough, in the first currency that lacks room."""
    balance, ceilings = scope.balance, scope.ceilings
    if books.is_workflow(balance.scope):
        return "start the rest with a larger --budget; see: pancode budget show"
    kind, _, name = balance.scope.partition(":")
    scope_word = kind if is_period(balance.scope) else quote(f"{kind}:{name}")
    where = "" if kind == "day" else f" --scope {scope_word}"
    if not books.is_within_ceilings(balance, books.Ceilings(usd=ceilings.usd), due):
        most = f"{ceil(books.add_amounts(books.counted_usd(balance), due.usd))}"
    elif not books.is_within_ceilings(balance, books.Ceilings(tokens=ceilings.tokens), due):
        most = f"--tokens {balance.tokens + balance.held_tokens + due.tokens}"
    else:
        most = f"--minutes {ceil((balance.agent_ms + balance.held_ms + due.ms) / books.MINUTE_MS)}"
    return f"pancode budget set {most}{where}"


def _room(view: AdmissionView) -> str:
    """Return what is left in each currency, in words, of the first scope with a ceiling in that currency."""
    left: list[tuple[str, str]] = []
    for scope in view.scopes:
        free, listed = _free(scope), {currency for currency, _ in left}
        left += [
            (currency, f"{words} free ({scope.balance.scope})")
            for currency, words in free.items()
            if currency not in listed
        ]
    return ", ".join(words for _, words in left) or "no ceiling"


def _free(scope: ScopeView) -> dict[str, str]:
    """The free amount of the scope in each currency."""
    balance, ceilings, free = scope.balance, scope.ceilings, {}
    if ceilings.usd is not None:
        free["usd"] = f"${ceilings.usd - balance.spent_usd - balance.held_usd:.2f} of ${ceilings.usd:.2f}"
    if ceilings.tokens is not None:
        left = ceilings.tokens - balance.tokens - balance.held_tokens
        free["tokens"] = f"{left:,} of {ceilings.tokens:,} tokens"
    if ceilings.ms is not None:
        rest = ceilings.ms - balance.agent_ms - balance.held_ms
        free["ms"] = f"{books.format_minutes(rest)} of {books.format_minutes(ceilings.ms)} agent-minutes"
    return free
