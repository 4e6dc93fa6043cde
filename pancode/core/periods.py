"""Decides which days a week or a month has, and its balance: the sum of the balances of its days."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo

from pancode.core import books
from pancode.core.records import Balance

PERIODS = ("week", "month")
"""Nothing is booked in their scopes, so that a dispatch writes no more rows for them."""


def scope_of(period: str, wall_ms: int, tz: tzinfo | None = None) -> str:
    """`week:2026-W47` or `month:2026-11`: the period of the coordinator's local day."""
    day = datetime.fromtimestamp(wall_ms / 1000, UTC).astimezone(tz).date()
    year, week, _ = day.isocalendar()
    return f"week:{year}-W{week:02}" if period == "week" else f"month:{day:%Y-%m}"


def is_period(scope: str) -> bool:
    return scope.partition(":")[0] in PERIODS


def days_of(scope: str) -> list[str]:
    """The scopes of its days, in order."""
    period, _, name = scope.partition(":")
    if period == "week":
        year, _, week = name.partition("-W")
        first, many = date.fromisocalendar(int(year), int(week), 1), 7
    else:
        first = date.fromisoformat(f"{name}-01")
        many = monthrange(first.year, first.month)[1]
    return [f"day:{first + timedelta(days=number)}" for number in range(many)]


def together(scope: str, balances: Iterable[Balance]) -> Balance:
    """The sums of these balances, under another name."""
    total = Balance(scope)
    for one in balances:
        total = Balance(
            scope,
            spent_usd=books.plus(total.spent_usd, one.spent_usd),
            held_usd=books.plus(total.held_usd, one.held_usd),
            unknown_runs=total.unknown_runs + one.unknown_runs,
            tokens=total.tokens + one.tokens,
            agent_ms=total.agent_ms + one.agent_ms,
            runs=total.runs + one.runs,
            held_tokens=total.held_tokens + one.held_tokens,
            held_ms=total.held_ms + one.held_ms,
            disputed_usd=books.plus(total.disputed_usd, one.disputed_usd),
        )
    return total
