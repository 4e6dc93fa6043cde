"""Decides when the node reports the content of its journal, and builds that report."""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.agent.fleettime import FleetClock
from node_agent.attempt.claims import Self
from node_agent.attempt.records import JournalRecord
from node_agent.wire.clock import FleetTime
from node_agent.wire.node import Inventory, JournalEntry

MOST_FINAL = 5_000
"""So many finished attempts are named, the newest; an envelope has a size limit."""


def inventory_of(
    node: Self, session: str, nonce: str, at: FleetTime, epoch_seen: int, entries: Sequence[JournalRecord]
) -> Inventory:
    """All that is not final, and what is final of this epoch."""
    final = [entry for entry in entries if entry.final and entry.epoch >= at.epoch][-MOST_FINAL:]
    listed = [entry for entry in entries if not entry.final] + final
    named = tuple(
        JournalEntry(identity=one.identity, order=one.digest, mark=one.mark, last_event=one.last_event)
        for one in listed
    )
    return Inventory(
        fleet=node.fleet,
        node=node.tag,
        session=session,
        nonce=nonce,
        at=at,
        epoch_seen=epoch_seen,
        entries=named,
    )


class InventoryDuty:
    """Owed after each answer to a nonce (start, link-up), in each new epoch, and now and then."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._last_sent: tuple[str, int] | None = None
        self._when = 0

    def is_due(self, fleet: FleetClock, now: FleetTime | None, mono_ms: int) -> bool:
        """Never without fleet time: its moment is what makes the inventory mean something."""
        if now is None or not fleet.is_answered:
            return False
        return self._last_sent != (fleet.nonce, now.epoch) or mono_ms - self._when >= self._every_ms

    def done(self, nonce: str, epoch: int, mono_ms: int) -> None:
        """It was sent."""
        self._last_sent, self._when = (nonce, epoch), mono_ms
