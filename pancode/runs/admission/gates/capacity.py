"""Gates 8 and 10: whether the budget suffices, and whether a node could execute the run, now or later."""

from __future__ import annotations

from decimal import Decimal
from math import ceil
from shlex import quote

from node_agent.wire.endpoint import RUNTIME_WIRES, wire_of
from node_agent.wire.job import Reasoning
from pancode.agents.default_worker import NO_NODE
from pancode.agents.runtimes import foreign_provider
from pancode.budget import books
from pancode.budget.books import is_period
from pancode.kernel.formatting import count_noun, first_few, format_usd
from pancode.runs.admission.plan import GateVerdict, Plan, make_pass, make_refusal, make_warning
from pancode.runs.answers import WOULD_WAIT
from pancode.runs.placement.candidates import Candidate
from pancode.runs.request import AdmissionView, ScopeView

BUDGET = "budget"
MOST_NAMED = 3
MORE_USD = Decimal(1)
"""The smallest raise, in USD, proposed when a session has used its whole budget."""


DO_IT_THERE = "do the work in that run itself, or start that run with a larger --budget"


def nothing_left(parent: str) -> str:
    return f"Dispatch blocked: run {parent} has used up its own budget"


def judge_budget(plan: Plan, view: AdmissionView) -> GateVerdict:
    due, parent = plan.due, view.parent
    if parent is not None and parent.usd_left == 0 and not plan.runtime.own:
        return make_refusal(BUDGET, nothing_left(parent.run), DO_IT_THERE)
    session = () if view.session is None else (view.session,)
    for scope in session:
        if scope.left == 0 and not plan.free:
            return used_up(scope)
    for scope in (*view.scopes, *session):
        if not books.is_within_ceilings(scope.balance, scope.ceilings, due):
            words = books.explain_refusal(scope.balance, scope.ceilings, due)
            return make_refusal(BUDGET, words, _room_for(scope, due), lifts="budget")
    words = f"estimated {format_usd(due.usd)}, {_format_room(view)}"
    if view.unknown and view.session is None:  # the runs of a session would repeat it
        more = len(view.unknown) - MOST_NAMED
        names = ", ".join(view.unknown[:MOST_NAMED]) + (
            f" and {count_noun(more, 'other')}" if more > 0 else ""
        )
        fix = f"pancode budget settle {view.unknown[0]} --usd X"
        return make_warning(BUDGET, f"{words}; the cost of {names} is unknown", fix)
    return make_pass(BUDGET, words)


def used_up(scope: ScopeView) -> GateVerdict:
    """Return the refusal of a run whose session has no budget left."""
    balance, ceiling = scope.balance, scope.ceilings.usd
    words = (
        f"Dispatch blocked: the budget is used up for {balance.scope.replace(':', ' ')} "
        f"({books.in_words(balance)}, ceiling: {format_usd(ceiling)})"
    )
    return make_refusal(BUDGET, words, _room_for(scope, books.Amount(MORE_USD)))


def _room_for(scope: ScopeView, due: books.Amount) -> str:
    """Return the commands that free enough budget: release a reservation, or raise the ceiling."""
    return "; or ".join((*scope.frees[:1], _format_raise(scope, due)))


def _format_raise(scope: ScopeView, due: books.Amount) -> str:
    """Return the command that raises the ceiling just enough, in the first of USD, tokens and minutes."""
    balance, ceilings = scope.balance, scope.ceilings
    if books.is_workflow(balance.scope):
        return "start the remaining work with a larger --budget; see: pancode budget show"
    kind, _, name = balance.scope.partition(":")
    scope_word = kind if is_period(balance.scope) else quote(f"{kind}:{name}")
    where = "" if kind == "day" else f" --scope {scope_word}"
    if not books.is_within_ceilings(balance, books.Ceilings(usd=ceilings.usd), due):
        most = f"{ceil(books.add_amounts(books.counted_usd(balance), due.usd))}"
    elif not books.is_within_ceilings(balance, books.Ceilings(tokens=ceilings.tokens), due):
        most = f"--tokens {balance.tokens + balance.reserved_tokens + due.tokens}"
    else:
        most = f"--minutes {ceil((balance.agent_ms + balance.reserved_ms + due.ms) / books.MINUTE_MS)}"
    return f"pancode budget set {most}{where}"


def _format_room(view: AdmissionView) -> str:
    """Return the free amount of each currency, as text, from the first scope with a ceiling for it."""
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
    """Return the free amount of the scope in each currency that has a ceiling, as text."""
    balance, ceilings, free = scope.balance, scope.ceilings, {}
    if ceilings.usd is not None:
        usd = ceilings.usd - balance.spent_usd - balance.reserved_usd
        free["usd"] = f"{format_usd(usd)} of {format_usd(ceilings.usd)}"
    if ceilings.tokens is not None:
        left = ceilings.tokens - balance.tokens - balance.reserved_tokens
        free["tokens"] = f"{left:,} of {ceilings.tokens:,} tokens"
    if ceilings.ms is not None:
        rest = ceilings.ms - balance.agent_ms - balance.reserved_ms
        free["ms"] = f"{books.format_minutes(rest)} of {books.format_minutes(ceilings.ms)} agent-minutes"
    return free


ROUTING = "routing"
_SHOWN = 6


def judge_routing(plan: Plan, view: AdmissionView) -> GateVerdict:
    return _judge_model(plan) or _judge_nodes(plan)


def _judge_model(plan: Plan) -> GateVerdict | None:
    runtime, ref = plan.runtime, plan.ref
    if plan.wanted is not None and wire_of(runtime.name) is None:
        return make_refusal(
            ROUTING,
            f"Dispatch blocked: runtime {runtime.name} cannot use an endpoint of a node",
            f"use --runtime native, or another one of {', '.join(sorted(RUNTIME_WIRES))}",
        )
    provider = foreign_provider(ref, runtime) if plan.wanted is None else None
    if ref is not None and provider is not None:
        return make_refusal(
            ROUTING,
            f"Dispatch blocked: runtime {runtime.name} cannot use model {ref.text} of {provider}",
            "choose another model with --model, or another runtime with --runtime",
        )
    if runtime.needs_model and ref is None:
        return make_refusal(
            ROUTING,
            f"Dispatch blocked: runtime {runtime.name} has no default model",
            "add --model; or for all runs: pancode config set models.worker MODEL (list: pancode models)",
        )
    return None


def _judge_nodes(plan: Plan) -> GateVerdict:
    fitting = [c for c in plan.candidates if c.fits]
    if not fitting:
        if not plan.candidates:
            return make_refusal(ROUTING, "Dispatch blocked: the fleet has no nodes", NO_NODE)
        shown = [c for c in plan.candidates if not c.other]
        nearest = sorted((c for c in shown if c.fix), key=lambda c: -c.near)
        fix = nearest[0].fix if nearest else "pancode node ls"
        return make_refusal(
            ROUTING, f"Dispatch blocked: no node can run it: {_format_candidates(shown)}", fix
        )
    ready = [c for c in fitting if c.ready]
    odd, fixes = _list_warnings(plan, ready or fitting)
    if not ready:
        fix = next((c.fix for c in fitting if c.fix), "pancode node ls")
        return make_warning(
            ROUTING, "; ".join((f"{WOULD_WAIT}{_format_candidates(fitting)}", *odd)), "; ".join((fix, *fixes))
        )
    model = f" with {plan.ref.text}" if plan.ref else ""
    names = ", ".join(c.name for c in ready[:_SHOWN])
    words = f"runtime {plan.runtime.name}{model} on {names}"
    return (
        make_warning(ROUTING, "; ".join((words, *odd)), "; ".join(fixes))
        if odd
        else make_pass(ROUTING, words)
    )


def _list_warnings(plan: Plan, candidates: list[Candidate]) -> tuple[list[str], list[str]]:
    """Return warnings, and the commands that fix them. A reasoning level in the settings is a preference for
    all runs; a runtime that does not support it ignores it."""
    odd, fixes = [], []
    if plan.unasked is not None:
        name = plan.runtime.name
        takes = ", ".join(level.value for level in Reasoning if level in plan.runtime.reasons) or "none"
        odd.append(f"reasoning level {plan.unasked} of your settings is ignored: {name} supports {takes}")
        fixes.append("choose a supported level with --reasoning")
    if plan.unlisted:
        odd.append(plan.unlisted)
        fixes.append(f"pancode models --runtime {plan.runtime.name}")
    absent = [name for name in plan.needs.env if all(name in one.unset for one in candidates)]
    if absent:
        more = f" and {len(candidates) - _SHOWN} more" if len(candidates) > _SHOWN else ""
        has, where = "has" if len(absent) == 1 else "have", ", ".join(one.name for one in candidates[:_SHOWN])
        odd.append(f"env: {', '.join(absent)} {has} no value on {where}{more}")
        commands = [f"pancode node secret {one.name} {name}" for name in absent for one in candidates]
        fixes += commands[:_SHOWN]
    return odd, fixes


def _format_candidates(candidates: list[Candidate]) -> str:
    """Return why nodes cannot take the run, as text; nodes with the same reason are listed together."""
    by_reason: dict[str, list[str]] = {}
    for one in candidates:
        by_reason.setdefault(one.why.replace(one.name, "each"), []).append(one.name)
    whys = {one.name: one.why for one in candidates}
    lines = [
        f"{names[0]} {whys[names[0]]}" if len(names) == 1 else f"{first_few(names, _SHOWN)}: each {reason}"
        for reason, names in by_reason.items()
    ]
    return first_few(lines, _SHOWN, "; ")
