"""The port to Redis on a node, and the messages that go through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Claimed:
    """An order as it came out of the queue: not believed before its signature was checked."""

    job: str
    """RQ job id."""
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A control message as found in the down stream."""

    entry: str
    data: bytes


@dataclass(frozen=True, slots=True)
class News:
    """The coordinator's newest beat, its control messages, and an order if one was asked for and there."""

    beat: bytes | None
    controls: list[Sent]
    claimed: Claimed | None = None


class Uplink(Protocol):
    """Redis as a node sees it, through its own tunnel. Never blocks longer than its socket timeout (10 s).

    Every method raises `ports.LinkDown` while Redis cannot be used; every write is idempotent.
    """

    def claim(self) -> Claimed | None:
        """Take the next order out of this node's queue and mark its job started, in one step."""

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        """The job is `finished` or `failed` in RQ's own registries. Unknown job: no effect."""

    def send(self, *envelopes: str) -> None:
        """Append events, receipts or inventories to the up stream, in this order, and hint once.

        After a LinkDown some of them may have arrived, never a later one without those before it.
        """

    def set_heartbeat(self, envelope: str) -> None:
        """Replace this node's heartbeat; also RQ's own worker registration, so that its tools show us."""

    def news(self, after: str, claim: bool = False) -> News:
        """The news for this node, in one round trip.

        Control messages: those behind that stream entry (`0` for all that are there), oldest first.
        `claim`: also an order, as `claim` does it, and after all else.
        """

    def hinted(self, wait_ms: int) -> bool:
        """Waits for a hint or the time, whichever is first; True for a hint. Never raises LinkDown."""
