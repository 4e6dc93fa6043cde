"""What must be true of jobs that wait on nodes. Each invariant is one method; its docstring is its name."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from node_agent.attempt.records import JournalRecord
from node_agent.wire.identity import HOLDS_SLOT, AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.signing import parse_envelope, parse_message
from pancode.kernel.ports import Transaction
from pancode.kernel.records import BookEntry, Closed, EntryKind, Lease, Run
from tests.simulation.invariants import must
from tests.simulation.machines import Machine

if TYPE_CHECKING:
    from tests.simulation.world import SimWorld

PATIENCE = 3
"""So many steps may pass before a slot that is free is taken by what waits there."""


class NightTruth:
    """Keeps what it has seen of each node a step before."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world
        self._seen: set[tuple[str, int]] = set()
        self._idle: dict[str, tuple[AttemptId | None, int]] = {}
        """By machine: the first that waits beside a free slot, and for how many steps."""
        self._drained: dict[str, set[AttemptId]] = {}

    def after_step(self) -> None:
        for machine in self.world.machines:
            live = machine.journal.live()
            held = [entry for entry in live if entry.mark is Mark.HELD]
            self.what_waits_has_its_snapshot(machine, held)
            self.a_free_slot_is_taken_whoever_leads(machine, live, held)
            self.a_drained_node_begins_nothing(machine, held)
        with self.world.coordinator.seen() as tx:
            self.what_went_ahead_is_paid_for(tx)
            self.what_a_node_holds_is_freed_by_its_word_alone(tx)

    def what_waits_has_its_snapshot(self, machine: Machine, held: list[JournalRecord]) -> None:
        """Nothing is held that could not begin without the coordinator."""
        for entry in held:
            kind = machine.journal.job(entry.identity).workspace.kind
            is_here = kind == "none" or str(entry.identity) in machine.host.mirrored
            must(is_here, f"{machine.name} holds {entry.identity} without its snapshot")

    def a_free_slot_is_taken_whoever_leads(
        self, machine: Machine, live: list[JournalRecord], held: list[JournalRecord]
    ) -> None:
        """A node at work with a free slot begins what waits there, frozen or dead coordinator or not."""
        taken = sum(entry.mark in HOLDS_SLOT for entry in live)
        works = machine.agent is not None and not machine.frozen and not machine.gone
        waits = [
            entry
            for entry in held
            if not entry.damaged and machine.top.forbids(self._job(machine, entry)) is None
        ]
        free = works and machine.agent is not None and taken < machine.agent.slots()
        is_full = machine.host.full or machine.shelf.full or not machine.facts.disk_ok()
        first, steps = self._idle.get(machine.name, (None, 0))
        waiting = waits[0].identity if free and waits and not is_full else None
        steps = steps + 1 if waiting is not None and waiting == first else 0
        self._idle[machine.name] = waiting, steps
        must(steps <= PATIENCE, f"{machine.name} leaves {waiting} waiting on a free slot")

    def a_drained_node_begins_nothing(self, machine: Machine, held: list[JournalRecord]) -> None:
        """What waited when the node had read its drain has gone back."""
        for identity in self._drained.pop(machine.name, set()):
            entry = machine.journal.get(identity)
            begun = entry is not None and entry.mark not in (Mark.HELD, Mark.REFUSED)
            must(not begun, f"{machine.name} drains, and has begun {identity}")
        if machine.journal.node().draining:
            self._drained[machine.name] = {entry.identity for entry in held}

    def what_a_node_holds_is_freed_by_its_word_alone(self, tx: Transaction) -> None:
        """No journal that was told earlier, and no wish of ours, says that it will not begin there."""
        for lease in tx.find(Lease):
            must(
                lease.mark != Mark.HELD or lease.closed is not Closed.NEVER_ACCEPTED,
                f"{lease.run}: freed, and {lease.node} holds it",
            )

    def what_went_ahead_is_paid_for(self, tx: Transaction) -> None:
        """The day holds the whole limit of its job, so that whatever it costs fits under the ceiling; but
        for programs that are to cost nothing."""
        for lease in tx.find(Lease):
            if not lease.ahead or (lease.run, lease.lease) in self._seen:
                continue
            self._seen.add((lease.run, lease.lease))
            run = tx.get(Run, lease.run)
            if run is None or not run.estimate_usd:
                continue
            job = parse_message(Job, parse_envelope(lease.job).body())
            mine = [e for e in tx.find(BookEntry, {"run": lease.run}) if e.attempt == lease.attempt]
            day = [e for e in mine if e.scope.startswith("day:")]
            signs = {EntryKind.RESERVE: 1, EntryKind.RELEASE: -1}
            held = sum((signs.get(e.kind, 0) * e.usd for e in day), Decimal(0))
            is_over = any(e.kind in (EntryKind.SPEND, EntryKind.UNKNOWN) for e in day)
            most = job.limits.usd
            must(
                is_over or (most is not None and held >= most), f"{lease.run} may cost {most}, {held} is held"
            )

    def _job(self, machine: Machine, entry: JournalRecord) -> Job:
        return machine.journal.job(entry.identity)
