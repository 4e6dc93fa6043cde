"""Builds the heartbeat: what the node has seen, its facts, and how much work it can take."""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.agent.fleettime import FleetClock
from node_agent.attempt.claims import Self
from node_agent.attempt.records import JournalRecord, JournalState
from node_agent.wire.identity import HOLDS_SLOT
from node_agent.wire.node import Ask, Heartbeat, NodeFacts


def holding(entries: Sequence[JournalRecord]) -> list[JournalRecord]:
    """Those that occupy a slot."""
    return [entry for entry in entries if entry.mark in HOLDS_SLOT]


class Pulse:
    """The heartbeats of one start of the node agent."""

    def __init__(
        self, node: Self, session: str, boot_id: str, fleet: FleetClock, obeys: tuple[str, ...]
    ) -> None:
        self._node, self._session, self._boot_id, self._fleet = node, session, boot_id, fleet
        self._obeys = obeys
        self._seq = 0

    def make(
        self, state: JournalState, slots: int, live: Sequence[JournalRecord], facts: NodeFacts, boot_ms: int
    ) -> Heartbeat:
        """The next one."""
        self._seq += 1
        newest = self._fleet.newest
        return Heartbeat(
            fleet=self._node.fleet,
            node=self._node.tag,
            session=self._session,
            boot_id=self._boot_id,
            seq=self._seq,
            boot_ms=boot_ms,
            nonce=self._fleet.nonce,
            echo=None if newest is None else newest.time,
            epoch_seen=self._fleet.epoch_seen,
            control_seen=state.control_seq,
            ask=Ask(
                seq=self._seq,
                slots=0 if facts.shut else slots,
                open=tuple(entry.identity for entry in holding(live)),
            ),
            draining=state.draining or state.revoked,
            version=self._node.version,
            obeys=self._obeys,
            facts=facts,
        )
