"""The model gateway as an attempt uses it: its address for the agent, and its count of the model calls."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from node_agent.wire.control import BudgetAnswers
from node_agent.wire.job import Job
from node_agent.wire.receipt import ModelCalls, Usage

WAITED_MS = 1_000
"""Milliseconds; a shorter wait for a slot is not reported."""


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """An agent's access to the gateway: the port on 127.0.0.1, and the token that replaces a key."""

    port: int
    token: str
    is_tunnel: bool = False
    """Whether a subscription pays for the calls: then the gateway counts only bytes."""
    is_priced: bool = True
    """Whether the gateway knows the prices of the job's model, and so can enforce a money limit."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class ModelCount:
    """The gateway's count so far. `limit`: `tokens`, `usd` or `requests` after a call exceeded that limit.
    `words`: the gateway's first refusal. `unpriced`: a model that answered but has no known price."""

    usage: Usage
    calls: ModelCalls
    limit: str = ""
    words: str = ""
    unpriced: str = ""
    ended: bool = False
    """Whether the gateway ended normally, so that the count is complete."""
    failing: int = 0
    """The number of consecutive calls that the model server has failed."""
    failing_s: int = 0
    """The seconds for which the model server has been failing."""
    status: int = 0
    """The HTTP status of the last failed call; 0: no answer."""
    trouble: str = ""
    """A description of the model server's problem."""
    waiting: int = 0
    """The number of model calls whose answer has not started."""
    unsure: str = ""
    """Attributes of answers, such as a service tier, whose price is unknown."""
    beyond: Decimal = Decimal(0)
    """The part of the cost in dollars that results only from assuming the highest price for those answers."""
    left: int | None = None
    """The remaining percentage of the provider's rate limit, from its last answer; None: not reported."""
    left_until_ms: int = 0
    """The time until which `left` is valid, on the monotonic clock."""
    asked: int = 0
    """The number of the newest request for a larger reservation; 0: none was made."""
    asked_usd: Decimal = Decimal(0)
    """The dollars that the attempt needs in total, by that request."""

    @property
    def wrapped(self) -> str:
        """Return a sentence that one last call was allowed after a limit; empty if none was."""
        return f"{self.words}; one last, short call was let through to wrap up" if self.calls.wrap_up else ""

    def over(self, claim: Usage) -> Usage:
        """Return the usage to record: the counted tokens, with our price or, if it is unknown, the runtime's.
        With a subscription return `claim`, the runtime's report, because the gateway counted no tokens."""
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
        """Return warnings for a user: the runtime's report differs, or calls could not be counted."""
        if self.calls.subscription:
            return ()
        counted, calls = _format_usage(self.usage), self.calls
        notes = [
            (bool(self.wrapped), self.wrapped),
            (
                not calls.requests
                and (bool(claim.cost_usd) or _format_usage(claim) != _format_usage(Usage())),
                "the model gateway saw no call of this run, so the program's own usage report is ignored",
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
                f"{calls.unread} answers did not report all their tokens: the count is too low",
            ),
            (
                bool(self.unpriced) and self.over(claim).cost_usd is None,
                f"no price is known for the model {self.unpriced}: add one to prices.json of the node",
            ),
            (
                bool(self.unsure) and self.usage.cost_usd is not None,
                f"the price of {self.unsure} is unknown: the cost is at least $"
                f"{(self.usage.cost_usd or 0) - self.beyond:.4f}, and the highest possible amount is "
                "counted; add the price to prices.json of the node, under the model's name and the "
                "attribute",
            ),
            (
                _format_usage(claim) not in (counted, _format_usage(Usage())),
                f"the runtime reports {_format_usage(claim)} tokens, but the model gateway counted {counted}",
            ),
        ]
        return tuple(text for holds, text in notes if holds)


def _format_usage(usage: Usage) -> str:
    return f"{usage.input_tokens} in, {usage.cached_tokens} from cache, {usage.output_tokens} out"


@dataclass(frozen=True, slots=True)
class ModelUse:
    """The model use of a running agent. `endpoint`: this node's, if one is used; `count`: the gateway's."""

    runtime: str
    endpoint: str | None
    count: ModelCount | None


class Gateways(Protocol):
    """The model gateways: one per attempt, identified only by the attempt's folder, even after a restart."""

    def open(self, job: Job, folder: Path) -> GatewayAccess | None:
        """Open the attempt's gateway and return the access to it; None if this node has no key or model
        server that the job's runtime uses. Idempotent. Raises StepFailed."""

    def is_alive(self, folder: Path) -> bool:
        """Whether the gateway of this folder still runs."""

    def count(self, folder: Path) -> ModelCount | None:
        """Return the gateway's newest count, even if the gateway has ended; None if there is no count."""

    def answer(self, folder: Path, answers: BudgetAnswers) -> None:
        """Give the gateway the coordinator's answer to a request for a larger reservation. Idempotent. On a
        full disk the answer is lost, and the gateway asks again."""

    def close(self, folder: Path) -> None:
        """End the gateway, which completes its count. Idempotent; no effect without one. Raises nothing."""


class NoGateways:
    """The implementation without gateways: every run calls its model directly."""

    def open(self, job: Job, folder: Path) -> GatewayAccess | None:
        return None

    def is_alive(self, folder: Path) -> bool:
        return False

    def count(self, folder: Path) -> ModelCount | None:
        return None

    def answer(self, folder: Path, answers: BudgetAnswers) -> None:
        return None

    def close(self, folder: Path) -> None:
        return None
