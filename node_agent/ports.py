"""What the job procedure needs of the world, as protocols. Every call is synchronous."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class LinkDown(Exception):
    """Redis or the depot cannot be reached now; try again later, nothing is lost."""


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


class Uplink(Protocol):
    """Redis as a node sees it, through its own tunnel. Never blocks longer than its socket timeout (10 s).

    Every method raises LinkDown while Redis cannot be used; every write is idempotent.
    """

    def claim(self) -> Claimed | None:
        """Take the next order out of this node's queue and mark its job started, in one step."""

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        """The job is `finished` or `failed` in RQ's own registries. Unknown job: no effect."""

    def send(self, envelope: str) -> None:
        """Append an event, receipt or inventory to the up stream, and hint."""

    def set_heartbeat(self, envelope: str) -> None:
        """Replace this node's heartbeat; also RQ's own worker registration, so that its tools show us."""

    def beat(self) -> bytes | None:
        """The coordinator's newest beat for this node."""

    def controls(self, after: str) -> list[Sent]:
        """Control messages behind that stream entry (`0` for all that are there), oldest first."""

    def set_tail(self, text: bytes) -> None:
        """Capped live tail for people who watch; lossy."""

    def hinted(self, wait_ms: int) -> bool:
        """Waits for a hint or the time, whichever is first; True for a hint. Never raises LinkDown."""
