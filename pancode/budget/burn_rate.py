"""Decides whether the day's budget is being spent so fast that no node should open more slots."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

WINDOW_MS, STEP_MS = 600_000, 30_000
"""The speed is that of the last ten minutes, looked at every half minute."""
SOON_MS, LATER_MS = 600_000, 1_800_000
"""A budget that would be spent within the first is in a hurry, until it would last as long as the second."""
HURRY = "at the speed of the last ten minutes the day's budget would soon be spent"
"""Without a number, which would change with each look, and with it the reason of each run that waits."""


@dataclass(frozen=True, slots=True)
class BudgetSpeed:
    """What was settled in a day, at moments of the boot clock. `why`: the hurry in words; empty: none."""

    day: str = ""
    seen: tuple[tuple[int, Decimal], ...] = ()
    why: str = ""


def update_speed(
    before: BudgetSpeed, now_ms: int, day: str, spent: Decimal, left: Decimal | None
) -> BudgetSpeed:
    """Return the speed after another look. `left`: what the ceiling still has; None: there is none."""
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
    return BudgetSpeed(day, seen, HURRY if hurried else "")
