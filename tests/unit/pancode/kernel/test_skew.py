"""A clock is off by what is left when the way there and back is taken away."""

from __future__ import annotations

import pytest

from pancode.kernel.node import skew_ms, skew_within


@pytest.mark.parametrize(
    ("theirs", "skew"),
    [(1_000, 0), (1_500, 0), (3_000, 0), (3_100, 100), (900, -100), (63_000, 60_000), (-59_000, -60_000)],
)
def test_the_way_is_no_skew(theirs: int, skew: int) -> None:
    assert skew_ms(theirs, before=1_000, after=3_000) == skew


@pytest.mark.parametrize(
    ("told", "low", "high", "shown"),
    [
        (None, -4.0, 1.0, None),  # unknown stays unknown
        (None, 40.0, 45.0, 40.0),
        (None, -90.0, -85.0, -85.0),
        (0.0, -4.0, 1.0, 0.0),
        (0.2, -4.0, 1.0, 0.2),
        (50.0, -4.0, 1.0, 1.0),  # set right since it was brought up
        (0.0, 3_599.96, 3_605.0, 3_600.0),
    ],
)
def test_what_was_told_is_corrected(told: float | None, low: float, high: float, shown: float | None) -> None:
    assert skew_within(told, low, high) == shown
