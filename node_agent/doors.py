"""The model gateway as the procedure sees it: a door for the agent, and a count that we made ourselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from node_agent.wire.order import Order
from node_agent.wire.receipt import ModelCalls, Usage


@dataclass(frozen=True, slots=True)
class Door:
    """How an agent gets in: the port on 127.0.0.1, and what it shows in the place of a key."""

    port: int
    token: str

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class ModelCount:
    """What went through the gateway so far. `limit`: `tokens` or `usd` when a call was refused for it.

    `words`: its first refusal. `unpriced`: a model that answered and has no price here.
    """

    usage: Usage
    calls: ModelCalls
    limit: str = ""
    words: str = ""
    unpriced: str = ""


class Gateways(Protocol):
    """One gateway per attempt, kept by its folder alone: any node agent here gives the same answers."""

    def open(self, order: Order, folder: Path) -> Door | None:
        """The door of the gateway that now waits for this attempt; the same door however often it is asked.

        None: this order's runtime has none of a vendor's keys or servers here. Raises StepFailed.
        """

    def is_alive(self, folder: Path) -> bool:
        """Whether it still serves."""

    def count(self, folder: Path) -> ModelCount | None:
        """As last written, also by one that is gone; None when there is none."""

    def close(self, folder: Path) -> None:
        """End it; its count is complete then. Idempotent; no effect where there is none. Raises nothing."""


class NoGateways:
    """Every run goes directly."""

    def open(self, order: Order, folder: Path) -> Door | None:
        return None

    def is_alive(self, folder: Path) -> bool:
        return False

    def count(self, folder: Path) -> ModelCount | None:
        return None

    def close(self, folder: Path) -> None:
        return None
