"""SQLite's sum of amounts, which are texts."""

from __future__ import annotations

from pancode.store.tallies import AT_ONCE, ExactSum


def test_a_sum_of_many_amounts_loses_none_and_rounds_nothing() -> None:
    amounts = ExactSum()
    for value in ("1" + "0" * 40, None, 3, *["0.000001"] * (2 * AT_ONCE + 1)):
        amounts.step(value)
    assert amounts.finalize() == f"1{'0' * 39}3.020001"
    assert ExactSum().finalize() == "0"
