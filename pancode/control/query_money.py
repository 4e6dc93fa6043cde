"""The books as a person reads them: what may be spent, was spent, is held, and is not known."""

from __future__ import annotations

from decimal import Decimal

from pancode.control.core import Core
from pancode.control.query_shapes import BudgetShape, ScopeShape
from pancode.domain import books
from pancode.domain.records import Balance, Setting
from pancode.ports import Transaction

CEILING = "ceiling:"


def budget(core: Core, estimate: Decimal, everything: bool = False) -> BudgetShape:
    """Today, then nodes and agents; `everything`: past days too. `estimate`: what the next run would hold."""
    today = books.day_scope(core.wall_ms(), core.tz)
    with core.ports.ledger.transaction() as tx:
        known = {balance.scope: balance for balance in tx.find(Balance)}
        for setting in tx.find(Setting):
            scope = setting.name.removeprefix(CEILING)
            if setting.name.startswith(CEILING) and ":" in scope:
                known.setdefault(scope, Balance(scope))
        day = known.pop(today, Balance(today))
        past = [s for s in sorted(known) if s.startswith("day:") and everything]
        others = [s for s in sorted(known) if not s.startswith("day:")]
        scopes = [_scope(core, tx, known[name]) for name in (*others, *reversed(past))]
        scopes.insert(0, _scope(core, tx, day))
    return {"scopes": scopes, "estimate_next_usd": usd(estimate), "runs": day.runs}


def usd(amount: Decimal) -> str:
    """A decimal string, never in powers of ten."""
    return f"{amount:f}"


def _scope(core: Core, tx: Transaction, balance: Balance) -> ScopeShape:
    ceiling = core.ceiling(tx, balance.scope)
    used = balance.spent_usd + balance.held_usd
    return {
        "scope": balance.scope,
        "ceiling_usd": None if ceiling is None else usd(ceiling),
        "spent_usd": usd(balance.spent_usd),
        "held_usd": usd(balance.held_usd),
        "remaining_usd": None if ceiling is None else usd(ceiling - used),
        "unknown_runs": balance.unknown_runs,
        "tokens": balance.tokens,
        "agent_minutes": round(balance.agent_ms / 60_000, 2),
        "over": ceiling is not None and used > ceiling,
    }
