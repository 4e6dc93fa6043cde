"""Weeks and months: their days, and their balances as the sums of those."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancode.budget.books import PERIODS, day_scope, days_of, scope_of, sum_balances
from pancode.kernel.records import Balance


@pytest.mark.parametrize(
    ("day", "week", "month"),
    [
        ("2026-11-22", "week:2026-W47", "month:2026-11"),
        ("2027-01-01", "week:2026-W53", "month:2027-01"),
        ("2024-12-30", "week:2025-W01", "month:2024-12"),
        ("2024-02-29", "week:2024-W09", "month:2024-02"),
    ],
)
def test_which_week_and_month_a_day_is_in(day: str, week: str, month: str) -> None:
    wall_ms = int(datetime.fromisoformat(f"{day}T12:00+00:00").timestamp() * 1000)
    assert [scope_of(period, wall_ms, UTC) for period in PERIODS] == [week, month]
    assert len(days_of(week)) == 7 and f"day:{day}" in days_of(week) and f"day:{day}" in days_of(month)


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_every_day_is_in_exactly_one_period_of_each_kind(day: date) -> None:
    for period in PERIODS:
        scopes = {scope_of(period, _noon(day + timedelta(days=more)), UTC) for more in range(-40, 41)}
        mine = [scope for scope in scopes if day_scope(_noon(day), UTC) in days_of(scope)]
        assert mine == [scope_of(period, _noon(day), UTC)]


def _noon(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)


def test_the_balance_of_a_week_is_the_sum_of_its_days() -> None:
    days = [Balance("day:a", Decimal("0.1"), Decimal(1), 1, 2, 3, 4, 5, 6), Balance("day:b", Decimal("0.2"))]
    assert sum_balances("week:w", days) == Balance("week:w", Decimal("0.3"), Decimal(1), 1, 2, 3, 4, 5, 6)
