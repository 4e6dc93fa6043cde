"""Estimates a call's tokens, and decides which calls may run at once within a run's limits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from node_agent.gateway.counting import Caps, Count, UsageBound
from node_agent.gateway.meter import MOST, MeterReading, TokenCount, Wire
from node_agent.gateway.prices import Price

BYTES_PER_TOKEN = 4
ASSUMED_OUTPUT = 8192
"""Of a request that sets no limit to its answer."""
_LIMITS: dict[Wire, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Wire.ANTHROPIC: ((), ("max_tokens",)),
    Wire.CHAT: ((), ("max_completion_tokens", "max_tokens")),
    Wire.RESPONSES: ((), ("max_output_tokens",)),
    Wire.GEMINI: (("generationConfig", "generation_config"), ("maxOutputTokens", "max_output_tokens")),
    Wire.OLLAMA: (("options",), ("num_predict",)),
}
"""By wire: the objects of a request in which its limit may stand, and the names that it may have there."""
_ANSWERS = ("n", "candidateCount", "candidate_count")


def estimate(wire: Wire, size: int, asked: dict[str, Any]) -> TokenCount:
    """The most tokens that a request of so many bytes may use."""
    inside, names = _LIMITS[wire]
    places = [asked.get(name) for name in inside] if inside else [asked]
    limits = [_largest(place, names) for place in places if isinstance(place, dict)]
    many = max([_largest(place, _ANSWERS) for place in places if isinstance(place, dict)], default=0)
    output = max(limits, default=0) or ASSUMED_OUTPUT
    return TokenCount(input=size // BYTES_PER_TOKEN, output=min(output * max(many, 1), MOST))


def believed(reading: MeterReading, expected: TokenCount, passed: int) -> TokenCount:
    """The usage of an answer of `passed` bytes: as it reported, else as must be assumed."""
    tokens = reading.tokens
    if reading.whole:
        return tokens
    has_input = tokens.input or tokens.cached or tokens.written
    output = max(tokens.output, min(passed // BYTES_PER_TOKEN, MOST) or expected.output)
    return TokenCount(tokens.input if has_input else expected.input, tokens.cached, tokens.written, output)


def _largest(place: dict[str, Any], names: tuple[str, ...]) -> int:
    found = [place.get(name) for name in names]
    return max((min(one, MOST) for one in found if isinstance(one, int) and one > 0), default=0)


@dataclass(frozen=True, slots=True)
class Expected:
    """Of one call."""

    tokens: TokenCount
    price: Price | None

    @property
    def bound(self) -> UsageBound:
        return UsageBound(self.tokens.total, self.price.cost(self.tokens) if self.price else Decimal(0))


class LimitReached(Exception):
    """A limit of the run allows no more calls: which one, and in words."""

    def __init__(self, limit: str, words: str) -> None:
        super().__init__(words)
        self.limit, self.words = limit, words


class Allowance:
    """Lets calls go out while the run's limits have room for all that are under way.

    Where they have not, one goes at a time: so no more than one can pass a limit. `count`: as it is now.
    """

    def __init__(self, caps: Caps, count: Callable[[], Count]) -> None:
        self._caps, self._count = caps, count
        self._held: list[UsageBound] = []
        self._freed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def call(self, expected: Expected) -> AsyncIterator[None]:
        """While one is under way; what it used is counted before its end. Raises Reached."""
        mine = expected.bound
        await self._room(mine)
        self._held.append(mine)
        try:
            yield
        finally:
            self._held.remove(mine)
            self._freed.set()
            self._freed = asyncio.Event()

    async def _room(self, mine: UsageBound) -> None:
        while True:
            limit, words = self._caps.reached(self._count())
            if limit:
                raise LimitReached(limit, words)
            if not self._held or self._caps.have_room(self._count().bound + sum(self._held, mine)):
                return
            await self._freed.wait()
