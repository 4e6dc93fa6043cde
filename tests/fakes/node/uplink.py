"""The link to the coordinator without a Redis."""

from __future__ import annotations

from dataclasses import dataclass, field

from node_agent.attempt.ports import Claimed, LinkDown, News, Sent


@dataclass(slots=True)
class MemoryUplink:
    """The Uplink port without a Redis: a queue, a stream up, a stream down, and a switch for the link."""

    down: bool = False
    queue: list[Claimed] = field(default_factory=list)
    settled: dict[str, tuple[bool, str]] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    heartbeat: str | None = None
    profiles: list[str] = field(default_factory=list)
    """What came with each heartbeat."""
    pulse: bytes | None = None
    told: list[Sent] = field(default_factory=list)

    def claim(self) -> Claimed | None:
        self._reach()
        return self.queue.pop(0) if self.queue else None

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        self._reach()
        self.settled[job] = (ok, reason)

    def send(self, *envelopes: str) -> None:
        self._reach()
        self.sent += envelopes

    def set_heartbeat(self, envelope: str, profile: str = "") -> None:
        self._reach()
        self.profiles.append(profile)
        self.heartbeat = envelope

    def news(self, after: str, claim: bool = False) -> News:
        self._reach()
        told = [one for one in self.told if int(one.entry) > int(after)]
        return News(self.pulse, told, self.claim() if claim else None)

    def wait_for_hint(self, wait_ms: int) -> bool:
        return False

    def _reach(self) -> None:
        if self.down:
            raise LinkDown("the link is down")
