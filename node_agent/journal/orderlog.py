"""A journal that also writes a log line at each stage of an order."""

from __future__ import annotations

from node_agent.attempt.records import JournalRecord, Note
from node_agent.attempt.verdict import fault_from_json
from node_agent.journal.journal import Journal, JournalStorage, Say
from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.logs import STAGES, OrderLine
from node_agent.wire.order import Order


class LoggedJournal(Journal):
    """As `Journal`; a stage is logged once it is in the journal, so never twice."""

    def __init__(self, node: str, storage: JournalStorage, say: Say, clock: Clock) -> None:
        super().__init__(storage, say, clock)
        self._node = node

    def accept(self, order: Order, digest: str, envelope: str, note: Note) -> JournalRecord:
        entry = super().accept(order, digest, envelope, note)
        self._log(frozenset(), entry)
        return entry

    def write(self, identity: AttemptId, note: Note) -> JournalRecord:
        known = self.get(identity)
        entry = super().write(identity, note)
        self._log(known.marks if known is not None else frozenset(), entry)
        return entry

    def _log(self, known: frozenset[Mark], entry: JournalRecord) -> None:
        began = entry.accepted.get("wall", entry.wall_ms)
        for mark, data in entry.data.items():
            if mark not in known and mark in STAGES:
                fault = fault_from_json(data)
                detail = str(fault.kind) if fault is not None else ""
                ms = max(0, entry.wall_ms - began)
                OrderLine.of(STAGES[mark], entry.identity, self._node, ms, detail).write()
