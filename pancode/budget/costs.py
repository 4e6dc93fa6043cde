"""Sums up what runs have cost, grouped by any of their properties, exactly as in the books."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from heapq import nlargest, nsmallest

from pancode.budget import books

SCOPE_OF: Mapping[str, str] = {"day": "day:", "node": "node:", "workflow": "workflow:", "session": "session:"}
"""Properties of which a run may have several values or none; each value is a scope in the books."""


@dataclass(frozen=True, slots=True)
class CostLine:
    """The total cost of a group of runs. `key` None: the runs that have no value for the property.

    `unknown`: how many runs have an unknown cost, which is not in `usd`. `disputed`: what nodes claim beyond
    the limits of their jobs, which is not in `usd` either.
    """

    key: str | None
    runs: int = 0
    usd: Decimal = books.ZERO
    tokens: int = 0
    agent_ms: int = 0
    unknown: int = 0
    disputed: Decimal = books.ZERO

    def __add__(self, more: CostLine) -> CostLine:
        return CostLine(
            self.key,
            self.runs + more.runs,
            books.add_amounts(self.usd, more.usd),
            self.tokens + more.tokens,
            self.agent_ms + more.agent_ms,
            self.unknown + more.unknown,
            books.add_amounts(self.disputed, more.disputed),
        )

    def less(self, other: CostLine) -> CostLine:
        """Return this line minus the other."""
        return CostLine(
            self.key,
            self.runs - other.runs,
            books.subtract_amount(self.usd, other.usd),
            self.tokens - other.tokens,
            self.agent_ms - other.agent_ms,
            self.unknown - other.unknown,
            books.subtract_amount(self.disputed, other.disputed),
        )

    @property
    def is_nothing(self) -> bool:
        counts = (self.runs, self.tokens, self.agent_ms, self.unknown, self.disputed)
        return not (self.usd or any(count > 0 for count in counts))


def group_lines(lines: Iterable[CostLine], key_of: Callable[[str | None], str | None]) -> list[CostLine]:
    """Return the lines with keys replaced by `key_of`, adding up those that get the same key."""
    same: dict[str | None, list[CostLine]] = {}
    for line in lines:
        same.setdefault(key_of(line.key), []).append(line)
    return [_add_lines(key, some) for key, some in same.items()]


def sum_lines(lines: Sequence[CostLine]) -> CostLine:
    return _add_lines("total", lines)


def _add_lines(key: str | None, lines: Sequence[CostLine]) -> CostLine:
    return CostLine(
        key,
        sum(line.runs for line in lines),
        books.add_amounts(*(line.usd for line in lines)),
        sum(line.tokens for line in lines),
        sum(line.agent_ms for line in lines),
        sum(line.unknown for line in lines),
        books.add_amounts(*(line.disputed for line in lines)),
    )


def with_rest(lines: list[CostLine], everything: CostLine) -> list[CostLine]:
    """Return the lines, plus one for runs without a value of the property, if any, so that the sums are
    complete. A run with two values, such as one retried on another node, is in both lines."""
    left = everything.less(sum_lines(lines))
    runs, tokens, ms, unknown = (max(0, n) for n in (left.runs, left.tokens, left.agent_ms, left.unknown))
    rest = CostLine(None, runs, left.usd, tokens, ms, unknown, max(books.ZERO, left.disputed))
    return lines if rest.is_nothing else [*lines, rest]


def in_order(lines: Iterable[CostLine], by: str, most: int) -> list[CostLine]:
    """Return at most this many lines: newest days first, or the most expensive first."""
    if by == "day":
        return nlargest(most, lines, key=lambda line: line.key or "")
    return nsmallest(most, lines, key=lambda line: (-line.usd, -line.tokens, line.key or ""))
