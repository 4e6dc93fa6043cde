"""The model gateway as the procedure uses it: an address for the agent, and our own count of calls."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from node_agent.wire.order import Order
from node_agent.wire.receipt import ModelCalls, Usage

WAITED_MS = 1_000
"""A shorter wait for a slot is not told."""


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """An agent's access to the gateway: the port on 127.0.0.1, and the token in the place of a key."""

    port: int
    token: str
    is_tunnel: bool = False
    """Whether calls go to the hosts of a vendor by subscription: then only bytes are counted."""
    is_priced: bool = True
    """The gateway knows what the order's model costs: it can hold a limit of money by itself."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class ModelCount:
    """The traffic of the gateway so far. `limit`: `tokens`, `usd` or `requests` when a call was past it.

    `words`: its first refusal. `unpriced`: a model that answered and has no price here.
    """

    usage: Usage
    calls: ModelCalls
    limit: str = ""
    words: str = ""
    unpriced: str = ""
    ended: bool = False
    """It came to its regular end: nothing is missing."""
    failing: int = 0
    """Calls in a row that the server failed until now, each asked when the one before had failed."""
    failing_s: int = 0
    """The seconds for which the server has been failing."""
    status: int = 0
    """The HTTP status of the last of them; 0: no answer."""
    trouble: str = ""
    """The problem, in words."""
    waiting: int = 0
    """The model calls whose answer has not begun."""
    unsure: str = ""
    """Terms of answers whose price is not known, such as a tier."""
    beyond: Decimal = Decimal(0)
    """So many dollars of the usage's are for the dearest price that these may have."""
    left: int | None = None
    """Percent of the provider's rate limit that are left, as its last answer told; None: it does not tell."""
    left_until_ms: int = 0
    """That counts until then, on the monotonic clock."""

    @property
    def wrapped(self) -> str:
        """That the last turn was let through, in words; empty where it was not."""
        return f"{self.words}; one last, short call was let through to wrap up" if self.calls.wrap_up else ""

    def over(self, claim: Usage) -> Usage:
        """The booked usage: our tokens; our price, or the runtime's where we have none.

        By subscription it is the claim: we have counted nothing.
        """
        if self.calls.subscription:
            return claim
        paid = claim if self.usage.cost_usd is None else self.usage
        return claim.model_copy(
            update={
                "input_tokens": self.usage.input_tokens,
                "cached_tokens": self.usage.cached_tokens,
                "output_tokens": self.usage.output_tokens,
                "cost_usd": paid.cost_usd,
                "cost_source": paid.cost_source,
            }
        )

    def findings(self, claim: Usage) -> tuple[str, ...]:
        """Warnings for a person: a claim that differs, and calls that could not be counted."""
        if self.calls.subscription:
            return ()
        counted, calls = _words(self.usage), self.calls
        notes = [
            (bool(self.wrapped), self.wrapped),
            (
                not calls.requests and (bool(claim.cost_usd) or _words(claim) != _words(Usage())),
                "the model gateway saw no call of this run: its program's own usage report does not count",
            ),
            (
                bool(self.limit and calls.refused),
                f"the model gateway refused {calls.refused} calls: {self.words}",
            ),
            (
                calls.waited_ms >= WAITED_MS,
                f"model calls waited {calls.waited_ms / 1000:.1f} s for a free slot of the endpoint",
            ),
            (
                calls.unread > 0,
                f"{calls.unread} answers did not tell their tokens to the end: the count is too low",
            ),
            (
                bool(self.unpriced) and self.over(claim).cost_usd is None,
                f"no price is known for the model {self.unpriced}: write one into prices.json of the node",
            ),
            (
                bool(self.unsure) and self.usage.cost_usd is not None,
                f"the price for {self.unsure} is not known here: the cost is at least "
                f"${(self.usage.cost_usd or 0) - self.beyond:.4f}, and what it may be at most is counted; "
                "prices.json of the node can name it: MODEL and the word",
            ),
            (
                _words(claim) not in (counted, _words(Usage())),
                f"the runtime tells of {_words(claim)} tokens, the model gateway counted {counted}",
            ),
        ]
        return tuple(text for holds, text in notes if holds)


def _words(usage: Usage) -> str:
    return f"{usage.input_tokens} in, {usage.cached_tokens} from cache, {usage.output_tokens} out"


@dataclass(frozen=True, slots=True)
class ModelUse:
    """An agent at work. `endpoint`: of this node, where its model is on one; `count`: of its gateway."""

    runtime: str
    endpoint: str | None
    count: ModelCount | None


class Gateways(Protocol):
    """One gateway per attempt, kept by its folder alone: any node agent here gives the same answers."""

    def open(self, order: Order, folder: Path) -> GatewayAccess | None:
        """The door of the gateway that now waits for this attempt; the same door however often it is asked.

        None: this order's runtime has none of a vendor's keys or servers here. Raises StepFailed.
        """

    def is_alive(self, folder: Path) -> bool:
        """Check whether it still serves."""

    def count(self, folder: Path) -> ModelCount | None:
        """The last written count, also of a gateway that is gone; None when there is none."""

    def close(self, folder: Path) -> None:
        """End it; its count is complete then. Idempotent; no effect where there is none. Raises nothing."""


class NoGateways:
    """Every run goes directly."""

    def open(self, order: Order, folder: Path) -> GatewayAccess | None:
        return None

    def is_alive(self, folder: Path) -> bool:
        return False

    def count(self, folder: Path) -> ModelCount | None:
        return None

    def close(self, folder: Path) -> None:
        return None
