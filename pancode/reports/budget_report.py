"""The budget report: the ceilings, and which costs are spent, reserved or unknown."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pancode.budget import books
from pancode.budget.answers import BudgetShape, ScopeShape
from pancode.budget.books import PERIODS, is_period
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Balance, Setting
from pancode.runs.core import CEILING, WORK_CEILING, Core
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import format_iso


@dataclass(frozen=True, slots=True)
class Configured:
    """The configured daily ceiling, the setting that defines it, and the estimate for the next run."""

    ceiling: Decimal
    origin: str
    estimate: Decimal

    @classmethod
    def of(cls, around: Surroundings) -> Configured:
        origin = around.origins(None)["budget.ceiling"]
        return cls(Decimal(origin.value), origin.origin, around.defaults(None).estimate_usd)


def report_budget(core: Core, configured: Configured, everything: bool = False) -> BudgetShape:
    """Return budgets of today, nodes and agents; `everything`: also of past days, workflows and sessions."""
    today = books.day_scope(core.wall_ms(), core.tz)
    with core.ports.ledger.transaction() as tx:
        known = {balance.scope: balance for balance in tx.find(Balance)}
        for setting in tx.find(Setting):
            scope = setting.name.removeprefix(CEILING).removeprefix(WORK_CEILING)
            if setting.name.startswith((CEILING, WORK_CEILING)) and ":" in scope:
                known.setdefault(scope, Balance(scope))
        day = known.pop(today, Balance(today))
        kinds = core.ceilings_set(tx)
        known = {name: balance for name, balance in known.items() if not is_period(name)}
        known |= {one.scope: one for one in (core.period_balance(tx, p) for p in PERIODS if p in kinds)}
        past = [s for s in sorted(known) if s.startswith("day:") and everything]
        others = [s for s in sorted(known) if not s.startswith("day:")]
        others = [s for s in others if everything or not (books.is_workflow(s) or books.is_session(s))]
        scopes = [_make_scope(core, tx, known[name], configured) for name in (*others, *reversed(past))]
        scopes.insert(0, _make_scope(core, tx, day, configured))
        notes = _list_notes(core, tx, configured)
    return {
        "scopes": scopes,
        "estimate_next_usd": format_decimal(configured.estimate),
        "runs": day.runs,
        "notes": notes,
    }


def format_decimal(amount: Decimal) -> str:
    """Return the decimal as a string without an exponent."""
    return f"{amount:f}"


def _list_notes(core: Core, tx: Transaction, configured: Configured) -> list[str]:
    """Return a note for each ceiling in a file that differs from the ceiling in force."""
    note = f"{configured.origin} sets {format_decimal(configured.ceiling)} USD per day"
    if core.ceiling_set(tx, "day:") is not None:
        same = core.ceiling(tx, "day:") == configured.ceiling
        return [] if same else [f"{note}; to apply it: pancode budget set none"]
    if configured.ceiling != core.rules.ceiling_usd:
        return [f"{note}; to apply it: pancode fleet down, pancode fleet up"]
    return []


def _find_origin(core: Core, tx: Transaction, scope: str, configured: Configured) -> str | None:
    setting = core.ceiling_set(tx, scope)
    if setting is not None:
        return f"budget set by {setting.changed_by} at {format_iso(setting.changed_ms)}"
    return configured.origin if scope.startswith("day:") else None


def _make_scope(core: Core, tx: Transaction, balance: Balance, configured: Configured) -> ScopeShape:
    ceilings = core.ceilings(tx, balance.scope)
    used = balance.spent_usd + balance.reserved_usd
    return {
        "scope": balance.scope,
        "ceiling_usd": None if ceilings.usd is None else format_decimal(ceilings.usd),
        "origin": _find_origin(core, tx, balance.scope, configured),
        "spent_usd": format_decimal(balance.spent_usd),
        "held_usd": format_decimal(balance.reserved_usd),
        "remaining_usd": None if ceilings.usd is None else format_decimal(ceilings.usd - used),
        "disputed_usd": format_decimal(balance.disputed_usd),
        "unknown_runs": balance.unknown_runs,
        "tokens": balance.tokens,
        "held_tokens": balance.reserved_tokens,
        "ceiling_tokens": ceilings.tokens,
        "agent_minutes": _count_minutes(balance.agent_ms),
        "held_minutes": _count_minutes(balance.reserved_ms),
        "ceiling_minutes": None if ceilings.ms is None else _count_minutes(ceilings.ms),
        "over": books.is_over(balance, ceilings),
    }


def _count_minutes(ms: int) -> float:
    return round(ms / books.MINUTE_MS, 2)
