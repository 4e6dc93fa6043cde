"""Decides whether the day's budget is being spent so fast that no machine should open more slots."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

WINDOW_MS, STEP_MS = 600_000, 30_000
"""The speed is that of the last ten minutes, looked at every half minute."""
SOON_MS, LATER_MS = 600_000, 1_800_000
"""Spent within the first is in a hurry; only one that lasts beyond the second is not any more."""


@dataclass(frozen=True, slots=True)
class BudgetSpeed:
    """What was settled in a day, at moments of our boot clock. `why`: the hurry, in words; empty: none."""

    day: str = ""
    seen: tuple[tuple[int, Decimal], ...] = ()
    why: str = ""


def looked(before: BudgetSpeed, now_ms: int, day: str, spent: Decimal, left: Decimal | None) -> BudgetSpeed:
    """After another look. `left`: of the day's ceiling, None: there is none. Another day begins anew."""
    if day != before.day or left is None:
        return BudgetSpeed(day, ((now_ms, spent),))
    if before.seen and now_ms - before.seen[-1][0] < STEP_MS:
        return before
    seen = (*(one for one in before.seen if now_ms - one[0] <= WINDOW_MS), (now_ms, spent))
    then_ms, then = seen[0]
    if spent <= then:
        return BudgetSpeed(day, seen)
    lasts_ms = int(max(left, Decimal(0)) / (spent - then) * (now_ms - then_ms))
    hurried = lasts_ms < (LATER_MS if before.why else SOON_MS)
    why = f"the day's budget would be spent in {lasts_ms // 60_000} min at the speed of the last 10"
    return BudgetSpeed(day, seen, why if hurried else "")
