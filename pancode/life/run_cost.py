"""Sums up what all attempts of a run have cost."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from node_agent.wire.failure import FailureKind, Outcome
from pancode.core import books
from pancode.core.records import Attempt
from pancode.life.moves import NOT_STARTED

MIXED = "mixed"
"""The source of a sum whose parts have several sources."""


def cost_of(attempts: Iterable[Attempt]) -> tuple[Decimal, bool]:
    """The known cost, and whether any of it is unknown. A run that never began cost nothing."""
    costs = [_cost(attempt) for attempt in attempts if _began(attempt)]
    return books.plus(*(usd for usd in costs if usd is not None)), None in costs


def usage_of_all(attempts: Iterable[Attempt]) -> dict[str, Any]:
    """The usage of all attempts together, in the same form as for one attempt; empty: nothing is known
    yet."""
    known = list(attempts)
    rows = [attempt for attempt in known if _began(attempt)]
    if not rows:
        return known[-1].usage if known else {}
    if len(rows) == 1:
        usage, unknown = rows[0].usage, _cost(rows[0]) is None
        return {**usage, "cost_usd": None} if unknown else usage
    usd, unknown = cost_of(rows)
    disputed = books.plus(*(Decimal(str(row.usage.get(books.DISPUTED) or 0)) for row in rows))
    sources = {str(source) for attempt in rows if (source := attempt.usage.get("cost_source"))}
    return {
        "input_tokens": sum(_count(attempt, "input_tokens") for attempt in rows),
        "output_tokens": sum(_count(attempt, "output_tokens") for attempt in rows),
        "cost_usd": None if unknown else f"{usd:f}",
        "cost_source": "unknown" if unknown else sources.pop() if len(sources) == 1 else MIXED,
        **({books.DISPUTED: f"{disputed:f}"} if disputed else {}),
    }


def _began(attempt: Attempt) -> bool:
    """Whether an agent may have worked in the attempt: its node reported usage, or was lost, or was not
    believed."""
    if attempt.usage.get("cost_source") == NOT_STARTED["cost_source"]:
        return False
    unheard = attempt.outcome is Outcome.LOST or attempt.failure is FailureKind.RECEIPT_REJECTED
    return bool(attempt.usage) or unheard


def _cost(attempt: Attempt) -> Decimal | None:
    """The cost of an attempt. Progress reports do not count once it has ended without a receipt."""
    if attempt.outcome is not None and attempt.usage.get("cost_source") is None:
        return None
    return books.known_cost(attempt.usage)


def _count(attempt: Attempt, name: str) -> int:
    return int(str(attempt.usage.get(name) or 0))
