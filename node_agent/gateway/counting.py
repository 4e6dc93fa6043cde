"""Counts a run's calls, tokens and money, and decides how much the run may still use."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Literal

from node_agent.gateway.meter import MOST, MeterReading, TokenCount, Wire
from node_agent.gateway.prices import Charge, Price

PATIENT = 3
"""Consecutive failures that are passed on at once; after them each next call waits, ever longer."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
MOST_FAILURES = 20
"""From this many failures on, the server is called once in COOL_S; other calls get its last error."""
COOL_S = 60.0


@dataclass(frozen=True, slots=True)
class UsageBound:
    """Tokens and dollars that were used, or are assumed to have been."""

    tokens: int = 0
    usd: Decimal = Decimal(0)

    def __add__(self, other: UsageBound) -> UsageBound:
        return UsageBound(self.tokens + other.tokens, self.usd + other.usd)


@dataclass(frozen=True, slots=True)
class Count:
    """All model calls of one run so far.

    `unread`: answers that did not report all their tokens, so the sums are too low. `usd` None: some answer
    had no price. `assumed`: `usd` includes the assumed cost of an answer without an end. `bound`: the usage
    that limits are compared with; it includes such answers. `limit`: the limit that refused a call, explained
    in `words`. `ended`: the gateway ended normally. `wrap_up`: 1 after the last call, allowed after a limit.
    `tunnelled`: by subscription, for which only connections and bytes are counted. `local`: no answer costs
    anything. `waited_ms`: for a free slot of the server. `failing`: consecutive failed calls until now, for
    `failing_s`, the last with `status` (0: no answer) and the text `trouble`; the server asked us to wait
    `retry_s`. `waiting`: calls whose answer has not begun.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0
    unread: int = 0
    tokens: TokenCount = TokenCount()
    usd: Decimal | None = Decimal(0)
    unpriced: str = ""
    limit: str = ""
    words: str = ""
    ended: bool = False
    bound: UsageBound = UsageBound()
    wrap_up: int = 0
    tunnelled: bool = False
    sent: int = 0
    received: int = 0
    local: bool = False
    waited_ms: int = 0
    failing: int = 0
    failing_s: int = 0
    status: int = 0
    trouble: str = ""
    retry_s: int = 0
    assumed: bool = False
    waiting: int = 0
    unsure: str = ""
    """Attributes of answers whose price is unknown, as text: `usd` assumes the highest that may apply."""
    beyond: str = "0"
    """The dollars of `usd` that result only from this highest price; the rest is the minimum cost."""
    left: int | None = None
    """The remaining percentage of the provider's rate limit, from its last answer; None: not reported."""
    left_until_s: int = 0
    """The time until which `left` is valid, in seconds of CLOCK_MONOTONIC."""
    asked: int = 0
    """The number of the newest request for a larger reservation; 0: none was made."""
    asked_usd: str = "0"
    """The dollars that the run needs in total, by that request."""

    @property
    def source(self) -> Literal["unknown", "local", "metered", "assumed"]:
        """Return how the cost was determined."""
        if self.usd is None:
            return "unknown"
        return "local" if self.local else "assumed" if self.assumed else "metered"

    def charged(self, reading: MeterReading, charge: Charge, model: str, used: TokenCount) -> Count:
        """Return the count after a paid answer whose own attributes determine its price."""
        count = self.answered(reading, charge.price, model, used)
        if not charge.unsure or charge.price is None or charge.least is None or self.local:
            return count
        more = Decimal(self.beyond) + charge.price.cost(used) - charge.least.cost(used)
        return replace(count, assumed=True, unsure=self.unsure or charge.unsure, beyond=format(more, "f"))

    def answered(self, reading: MeterReading, price: Price | None, model: str, used: TokenCount) -> Count:
        """Return the count after a paid answer of the server. `used`: the reported or assumed tokens."""
        usd = None if self.usd is None or price is None else self.usd + price.cost(used)
        return replace(
            self,
            tokens=self.tokens + reading.tokens,
            usd=self.usd if self.local else usd,
            assumed=self.assumed or not reading.whole,
            unread=self.unread + (not reading.whole),
            unpriced=self.unpriced or (model[:200] if price is None else ""),
            bound=self.bound + UsageBound(used.total, price.cost(used) if price else Decimal(0)),
        )

    def unanswered(self, expected: Expected) -> Count:
        """Return the count after a call whose answer was not received, but which may have cost money."""
        usd = None if self.usd is None or expected.price is None else self.usd + expected.bound.usd
        return replace(
            self,
            unread=self.unread + 1,
            usd=self.usd if self.local else usd,
            assumed=True,
            bound=self.bound + expected.bound,
        )

    def to_json(self) -> bytes:
        flat = {name: getattr(self, name) for name in self.__slots__}
        tokens = {name: getattr(self.tokens, name) for name in self.tokens.__slots__}
        usd = None if self.usd is None else format(self.usd, "f")
        bound = {"tokens": self.bound.tokens, "usd": format(self.bound.usd, "f")}
        return json.dumps({**flat, "tokens": tokens, "usd": usd, "bound": bound}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Count:
        """Read the count from JSON, even an older gateway's, which lacks some names. Raises ValueError."""
        raw: Any = json.loads(data)
        known = {field.name for field in fields(cls)}
        if not isinstance(raw, dict) or not {"requests", "tokens", "usd"} <= raw.keys() <= known:
            raise ValueError("not a count")
        try:
            usd = None if raw["usd"] is None else Decimal(raw["usd"])
            raw_bound = raw.get("bound") or {"tokens": 0, "usd": "0"}
            bound = UsageBound(raw_bound["tokens"], Decimal(raw_bound["usd"]))
            return cls(**{**raw, "tokens": TokenCount(**raw["tokens"]), "usd": usd, "bound": bound})
        except (KeyError, TypeError, ArithmeticError) as exc:
            raise ValueError(str(exc)) from exc


@dataclass(frozen=True, slots=True)
class Caps:
    """The limits of a run's usage; None: no such limit."""

    tokens: int | None = None
    usd: Decimal | None = None
    requests: int | None = None
    reserved: Decimal | None = None
    """The dollars that are reserved for the attempt at first; None: more is never asked for."""

    def reached(self, count: Count) -> tuple[str, str]:
        """Return the name of the reached limit, and the reason; two empty texts if no limit is reached."""
        spent, assumed = count.bound, " (or assumed to be)" if count.unread else ""
        if self.tokens is not None and spent.tokens >= self.tokens:
            return (
                "tokens",
                f"{spent.tokens} tokens are{assumed} used, the limit of this run is {self.tokens}",
            )
        if self.usd is not None and spent.usd >= self.usd:
            return "usd", f"${spent.usd:f} is{assumed} spent, the limit of this run is ${self.usd:f}"
        if self.requests is not None and count.requests >= self.requests:
            return "requests", f"{count.requests} model calls were made, which is the limit of this run"
        return "", ""

    def have_room(self, bound: UsageBound) -> bool:
        """Whether this usage fits without exceeding a limit."""
        full = self.tokens is not None and bound.tokens > self.tokens
        return not full and (self.usd is None or bound.usd <= self.usd)


@dataclass(frozen=True, slots=True)
class Storm:
    """The consecutive failed calls, and when the server last failed. All times are seconds of the same clock.
    `tries`: calls made when the failure before them was known; `first`: time of the first failure."""

    failures: int = 0
    failed: float = 0.0
    tries: int = 0
    first: float = 0.0

    @property
    def lasted(self) -> int:
        """Return the whole seconds from the first failure to the last."""
        return int(self.failed - self.first)

    def after(self, ok: bool, at: float, now: float) -> Storm:
        """Return the state after a call that was sent at `at`. Parallel calls that fail together count as one
        try."""
        if ok:
            return Storm()
        if not self.failures:
            return Storm(1, now, 1, now)
        return Storm(self.failures + 1, now, self.tries + (at >= self.failed), self.first)

    def wait(self) -> float:
        """Return the seconds to wait before the next call."""
        over = self.failures - PATIENT
        return 0.0 if over < 0 else float(min(FIRST_WAIT_S * 2 ** min(over, 10), LONGEST_WAIT_S))

    def is_cut(self, now: float) -> bool:
        """Whether calls are now answered with the last error, without calling the server."""
        return self.failures >= MOST_FAILURES and now - self.failed < COOL_S


BYTES_PER_TOKEN = 4
ASSUMED_OUTPUT = 8192
"""The output tokens that are assumed if a request does not limit its answer."""
_LIMITS: dict[Wire, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Wire.ANTHROPIC: ((), ("max_tokens",)),
    Wire.CHAT: ((), ("max_completion_tokens", "max_tokens")),
    Wire.RESPONSES: ((), ("max_output_tokens",)),
    Wire.GEMINI: (("generationConfig", "generation_config"), ("maxOutputTokens", "max_output_tokens")),
    Wire.OLLAMA: (("options",), ("num_predict",)),
}
"""By API: the objects of a request that may contain its output limit, and the limit's possible names."""
_ANSWERS = ("n", "candidateCount", "candidate_count")


def estimate_most(wire: Wire, size: int, body: dict[str, Any]) -> TokenCount:
    """Return the maximum tokens that a request of so many bytes may use."""
    inside, names = _LIMITS[wire]
    places = [body.get(name) for name in inside] if inside else [body]
    limits = [_find_largest(place, names) for place in places if isinstance(place, dict)]
    many = max([_find_largest(place, _ANSWERS) for place in places if isinstance(place, dict)], default=0)
    output = max(limits, default=0) or ASSUMED_OUTPUT
    return TokenCount(input=size // BYTES_PER_TOKEN, output=min(output * max(many, 1), MOST))


def count_usage(reading: MeterReading, expected: TokenCount, passed: int) -> TokenCount:
    """Return the usage of an answer of `passed` bytes: as reported or, where it was not, as assumed."""
    tokens = reading.tokens
    if reading.whole:
        return tokens
    has_input = tokens.input or tokens.cached or tokens.written
    output = max(tokens.output, min(passed // BYTES_PER_TOKEN, MOST) or expected.output)
    return replace(tokens, input=tokens.input if has_input else expected.input, output=output)


def _find_largest(place: dict[str, Any], names: tuple[str, ...]) -> int:
    found = [place.get(name) for name in names]
    return max((min(one, MOST) for one in found if isinstance(one, int) and one > 0), default=0)


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected usage of one call."""

    tokens: TokenCount
    price: Price | None

    @property
    def bound(self) -> UsageBound:
        return UsageBound(self.tokens.total, self.price.cost(self.tokens) if self.price else Decimal(0))


class LimitReached(Exception):
    """A limit of the run allows no more calls. `limit`: its name; `words`: the explanation."""

    def __init__(self, limit: str, words: str) -> None:
        super().__init__(words)
        self.limit, self.words = limit, words


@dataclass(frozen=True, slots=True)
class Grant:
    """The coordinator's answer to request `number`: `usd` are reserved; `words`: why not more, if it is too
    little."""

    number: int
    usd: Decimal
    words: str = ""


class NotAnswered(Exception):
    """The coordinator has not answered a request for a larger reservation in time."""


Ask = Callable[[Decimal], Awaitable[Grant]]
"""Asks the coordinator to reserve so many dollars in total, and waits for its answer. Raises NotAnswered."""
CEILING = "ceiling"
"""The name of the limit that the coordinator's budget sets."""


class Allowance:
    """Lets calls start while the run's limits have room for all running calls. Without room, calls run one at
    a time, so that at most one call can exceed a limit. `count`: the current count; `ask`: asks for a larger
    reservation."""

    def __init__(self, caps: Caps, count: Callable[[], Count], ask: Ask) -> None:
        self._caps, self._count, self._ask = caps, count, ask
        self._reserved, self._asking = caps.reserved, asyncio.Lock()
        self._held: list[UsageBound] = []
        self._freed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def call(self, expected: Expected) -> AsyncIterator[None]:
        """Wait until the call may start; the caller counts its usage in the context. Raises LimitReached."""
        mine = expected.bound
        await self._wait_for_room(mine)
        self._held.append(mine)
        try:
            yield
        finally:
            self._held.remove(mine)
            self._freed.set()
            self._freed = asyncio.Event()

    async def _wait_for_room(self, mine: UsageBound) -> None:
        while True:
            refused = ""
            async with self._asking:
                due = self._find_due(mine).usd
                due = due if self._caps.usd is None else min(due, self._caps.usd)
                if self._reserved is not None and mine.usd and due > self._reserved:
                    grant = await self._ask(due)
                    self._reserved = max(self._reserved, grant.usd)
                    refused = "" if due <= self._reserved else grant.words
            limit, words = self._caps.reached(self._count())
            if limit:
                raise LimitReached(limit, words)
            if self._held and (refused or not self._caps.have_room(self._find_due(mine))):
                await self._freed.wait()
            elif refused and self._count().bound.usd >= (self._reserved or 0):
                raise LimitReached(CEILING, refused)
            else:
                return

    def _find_due(self, mine: UsageBound) -> UsageBound:
        return self._count().bound + sum(self._held, mine)
