"""What a run is expected to need, and how much is explored: values that a dispatch carries."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pancode.core.books import Amount

EXPLORE = 0.1
"""The share of choices that go to whoever was tried least: so a newcomer gets its chances."""
EXPECTED, EXPLORES = "expected", "explore"
"""Terms of a run: the evidence of its estimate in words; its share of exploration, if an unusual one."""


@dataclass(frozen=True, slots=True)
class ExpectedWork:
    """What a run is expected to need, and the evidence in words. `usd` None: no cost is known."""

    usd: Decimal | None
    amount: Amount
    words: str
