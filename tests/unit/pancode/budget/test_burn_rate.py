"""A fleet that would spend its day's budget in the next minutes opens no more slots, and does not flap."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pancode.runs.live import HURRY, LATER_MS, SOON_MS, STEP_MS, BudgetSpeed, update_speed

DAY, MINUTE = "day:2026-11-20", 60_000


def after(minutes: int, a_minute: str, left: str | None, before: BudgetSpeed | None = None) -> BudgetSpeed:
    speed, begin = before or BudgetSpeed(), before.seen[-1][0] if before is not None else 0
    spent = before.seen[-1][1] if before is not None else Decimal(0)
    for minute in range(1, minutes + 1):
        spent += Decimal(a_minute)
        speed = update_speed(
            speed, begin + minute * MINUTE, DAY, spent, None if left is None else Decimal(left)
        )
    return speed


def test_it_is_in_a_hurry_where_the_rest_is_spent_within_ten_minutes() -> None:
    assert after(10, "0.10", "5").why == "", "fifty minutes are left"
    assert after(10, "0.50", "4").why == HURRY
    assert after(10, "0.50", None).why == after(10, "0", "0.01").why == ""
    assert after(1, "5", "1").why == "", "one look is not a speed"


def test_a_hurry_ends_when_the_rest_lasts_half_an_hour_or_another_day_begins() -> None:
    hurried = after(10, "0.50", "4")
    assert after(1, "0.50", "9", hurried).why, "eighteen minutes: between the two nothing changes"
    assert after(1, "0.50", "20", hurried).why == ""
    assert update_speed(hurried, 11 * MINUTE, "day:2026-11-21", Decimal(0), Decimal(10)).why == ""
    assert after(11, "0", "4", hurried).why == "", "nothing was spent in the last ten minutes"


@given(st.lists(st.tuples(st.decimals("0", "1", places=2), st.decimals("0", "20", places=2)), max_size=80))
def test_it_begins_and_ends_at_two_different_places(seen: list[tuple[Decimal, Decimal]]) -> None:
    speed, spent = BudgetSpeed(), Decimal(0)
    for number, (more, left) in enumerate(seen, 1):
        spent, before = spent + more, speed
        speed = update_speed(before, number * STEP_MS, DAY, spent, left)
        then_ms, then = speed.seen[0]
        if spent > then:
            lasts = left / (spent - then) * (number * STEP_MS - then_ms)
            assert bool(speed.why) is (lasts < (LATER_MS if before.why else SOON_MS)) or len(speed.seen) == 1
