"""Counts a run's usage, decides when a limit is reached, and when to retry a failing server later. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Literal

from node_agent.gateway.meter import MeterReading, TokenCount
from node_agent.gateway.prices import Price

PATIENT = 3
"""So many failures in a row are passed on as they come; then each next try waits, ever longer."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
MOST_FAILURES = 20
"""From then on the server is asked once in COOL_S; between, its last error is told again."""
COOL_S = 60.0


@dataclass(frozen=True, slots=True)
class UsageBound:
    """Tokens and dollars that were used, or must be assumed to have been."""

    tokens: int = 0
    usd: Decimal = Decimal(0)

    def __add__(self, other: UsageBound) -> UsageBound:
        return UsageBound(self.tokens + other.tokens, self.usd + other.usd)


@dataclass(frozen=True, slots=True)
class Count:
    """All model calls of one run so far.

    `unread`: answers that did not tell their tokens to the end, so that the sums are too low. `usd` None:
    some answer had no price, or no end. `bound` is what limits go by: it has also what such an answer must be
    assumed to have used. `limit`: which limit refused a call, in `words`. `ended`: regularly. `wrap_up`:
    1 from when the last call was let through after a limit. `tunnelled`: by subscription, where connections
    and bytes are all that is counted. `local`: nothing costs, told to its end or not. `waited_ms`: for a
    free slot of the server. `failing`: tries in a row that have failed until now, for `failing_s`, the last
    of them with `status` (0: no answer) and in the words of `trouble`; the server has asked
    to wait `retry_s`.
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

    @property
    def source(self) -> Literal["unknown", "local", "metered"]:
        """How its cost is known."""
        if self.usd is None:
            return "unknown"
        return "local" if self.local else "metered"

    def answered(self, reading: MeterReading, price: Price | None, model: str, used: TokenCount) -> Count:
        """After an answer that the server gave for money; `used`: as told, or as must be assumed."""
        known = self.usd is not None and price is not None and reading.whole
        usd = self.usd + price.cost(reading.tokens) if known and self.usd is not None and price else None
        usd = self.usd if self.local else usd
        return replace(
            self,
            tokens=self.tokens + reading.tokens,
            usd=usd,
            unread=self.unread + (not reading.whole),
            unpriced=self.unpriced or (model[:200] if price is None else ""),
            bound=self.bound + UsageBound(used.total, price.cost(used) if price else Decimal(0)),
        )

    def unanswered(self, assumed: UsageBound) -> Count:
        """After a call that the server has, and whose answer nobody heard: it may cost all the same."""
        return replace(
            self, unread=self.unread + 1, usd=self.usd if self.local else None, bound=self.bound + assumed
        )

    def to_json(self) -> bytes:
        flat = {name: getattr(self, name) for name in self.__slots__}
        tokens = {name: getattr(self.tokens, name) for name in self.tokens.__slots__}
        usd = None if self.usd is None else format(self.usd, "f")
        bound = {"tokens": self.bound.tokens, "usd": format(self.bound.usd, "f")}
        return json.dumps({**flat, "tokens": tokens, "usd": usd, "bound": bound}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Count:
        """Also as a gateway of before an upgrade writes it, without some of today's names. ValueError."""
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

    def reached(self, count: Count) -> tuple[str, str]:
        """(which limit, in words), or two empty texts. Judged before a call: one that runs is let end."""
        spent, assumed = count.bound, " (or assumed to be)" if count.unread else ""
        if self.tokens is not None and spent.tokens >= self.tokens:
            return (
                "tokens",
                f"{spent.tokens} tokens are{assumed} used, the limit of this run is {self.tokens}",
            )
        if self.usd is not None and spent.usd >= self.usd:
            return "usd", f"${spent.usd:f} is{assumed} spent, the limit of this run is ${self.usd:f}"
        if self.requests is not None and count.requests >= self.requests:
            return "requests", f"{count.requests} model calls were made, the limit of this run"
        return "", ""

    def have_room(self, bound: UsageBound) -> bool:
        """Check whether so much can be used without passing one of them."""
        full = self.tokens is not None and bound.tokens > self.tokens
        return not full and (self.usd is None or bound.usd <= self.usd)


@dataclass(frozen=True, slots=True)
class Storm:
    """Calls that failed in a row, and when the server failed last. Times are seconds of any one clock.

    `tries`: of those, how many were asked after the failure before them was known; `first`: when it began.
    """

    failures: int = 0
    failed: float = 0.0
    tries: int = 0
    first: float = 0.0

    @property
    def lasted(self) -> int:
        """Whole seconds, from its first failure to its last."""
        return int(self.failed - self.first)

    def after(self, ok: bool, asked: float, now: float) -> Storm:
        """After a call that was sent at `asked`. Many at once that fail together are one try."""
        if ok:
            return Storm()
        if not self.failures:
            return Storm(1, now, 1, now)
        return Storm(self.failures + 1, now, self.tries + (asked >= self.failed), self.first)

    def wait(self) -> float:
        """Seconds before the next call goes out."""
        over = self.failures - PATIENT
        return 0.0 if over < 0 else float(min(FIRST_WAIT_S * 2 ** min(over, 10), LONGEST_WAIT_S))

    def is_cut(self, now: float) -> bool:
        """Check whether the server is not asked this time."""
        return self.failures >= MOST_FAILURES and now - self.failed < COOL_S
