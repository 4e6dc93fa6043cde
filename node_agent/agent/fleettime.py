"""Computes the fleet's time from signed heartbeats of the coordinator and the node's boot clock. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node_agent.wire.control import CoordinatorHeartbeat
from node_agent.wire.model import FleetTime
from node_agent.wire.node import MOST_HEARTBEAT_BYTES
from node_agent.wire.packing import read_text
from node_agent.wire.signing import PublicKey, RefusalCode, WireRefusal, open_as, parse_envelope


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """The effect of a heartbeat. `newer`: it is later than all earlier ones. `epoch`: it started a new epoch.
    `answered`: it is the first one in its epoch that answers the current nonce."""

    newer: bool = False
    epoch: bool = False
    answered: bool = False


def read_coordinator_heartbeat(
    data: bytes, keys: Mapping[str, PublicKey], fleet: str, node: str
) -> CoordinatorHeartbeat:
    """Return a heartbeat that is meant for this node; WireRefusal for any other data."""
    heartbeat = open_as(CoordinatorHeartbeat, parse_envelope(read_text(data, MOST_HEARTBEAT_BYTES)), keys)
    if (heartbeat.fleet, heartbeat.node) != (fleet, node):
        raise WireRefusal(RefusalCode.INVALID_FIELD, f"a heartbeat for {heartbeat.fleet}/{heartbeat.node}")
    return heartbeat


class FleetClock:
    """The fleet time as one node knows it. It never runs backwards or ahead of the coordinator's clock.

    A heartbeat made before the node's nonce does not prove the current time, so only a heartbeat that answers
    the nonce sets the time. The estimate is the largest that any such heartbeat allows; a delayed heartbeat
    cannot lower it.
    """

    def __init__(self, epoch_seen: int, nonce: str) -> None:
        self.epoch_seen = epoch_seen
        """The highest epoch in any signed heartbeat, including those of earlier sessions."""
        self.nonce = nonce
        self.newest: CoordinatorHeartbeat | None = None
        self._epoch = 0
        self._ahead = 0  # The coordinator's boot clock minus this node's.
        self._answered: tuple[str, int] | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the current nonce was answered in the current epoch."""
        return self._answered == (self.nonce, self._epoch) and self._epoch == self.epoch_seen

    def believe(self, epoch: int) -> None:
        """Accept an epoch that was known before this node agent started."""
        self.epoch_seen = max(self.epoch_seen, epoch)

    def renew(self, nonce: str) -> None:
        """Set a new nonce at each link-up. The time continues, and the next answer counts as a first one."""
        self.nonce = nonce

    def now(self, boot_ms: int) -> FleetTime | None:
        """Return the fleet time; None before the first answer to a nonce, and in a new epoch before an answer
        in that epoch."""
        if self._epoch == 0 or self._epoch < self.epoch_seen:
            return None
        return FleetTime(epoch=self._epoch, ms=max(0, boot_ms + self._ahead))

    def hear(self, heartbeat: CoordinatorHeartbeat, boot_ms: int) -> HeartbeatResult:
        """Process a verified heartbeat; one with an older epoch or an older number has no effect."""
        epoch = heartbeat.time.epoch
        last = self.newest
        is_newer = last is None or (heartbeat.time.epoch, heartbeat.seq) > (last.time.epoch, last.seq)
        if epoch < self.epoch_seen or not is_newer:
            return HeartbeatResult()
        opened = epoch > self.epoch_seen
        self.epoch_seen, self.newest = epoch, heartbeat
        return HeartbeatResult(newer=True, epoch=opened, answered=self._take_time(heartbeat, boot_ms))

    def _take_time(self, heartbeat: CoordinatorHeartbeat, boot_ms: int) -> bool:
        answers = heartbeat.answers == self.nonce
        if not answers and self._epoch != heartbeat.time.epoch:
            return False
        ahead = heartbeat.time.ms - boot_ms
        same = self._epoch == heartbeat.time.epoch
        self._ahead = max(self._ahead, ahead) if same else ahead
        self._epoch = heartbeat.time.epoch
        first = answers and self._answered != (self.nonce, self._epoch)
        if first:
            self._answered = (self.nonce, self._epoch)
        return first
