"""What really happened, taken down without asking the code under test: contact, starts, evidence, wishes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from typing import Any

from pancode.kernel.records import Lease
from tests.fakes.node import MemoryDepot
from tests.simulation.coordinator import SimDesk
from tests.simulation.machines import Machine

HEARD_MS = 15_000
"""After so long a contact without a break the coordinator must have heard the node."""


class Truth:
    """`silent_ms`: time in which the coordinator was awake and looking and the node could not be heard."""

    def __init__(self, coordinator: SimDesk, machines: list[Machine]) -> None:
        self.coordinator, self.machines = coordinator, machines
        self.contact_ms: dict[str, int] = defaultdict(int)
        self.silent_ms: dict[str, int] = defaultdict(int)
        self.away_ms: dict[str, int] = defaultdict(int)
        """The same since the last moment of any contact, however short."""
        self.stops: dict[str, int] = {}
        """Run that a user wanted ended, and its highest lease at that moment."""
        self.given_up: set[str] = set()
        """Lost runs that a user has replaced by a new one."""
        self.trusted: set[str] = set()
        """Nodes of which a user has said that what ran there is over."""
        self.lives: dict[str, int] = {}
        """Digest of a job, and the coordinator's life in which it was signed."""
        self.top: dict[str, int] = {}
        self.restored: set[str] = set()
        """Runs that were under way when a backup was put back."""
        self.held_runs: set[str] = set()
        """Runs that were open in a backup that was put back, and that nobody has released since."""
        self.lied_of: set[str] = set()
        """Runs of which their own node has said any value: it may spoil these."""
        self.held: set[str] = set()
        """Attempts whose node knew of a stop before anything was started."""
        self.evidence: dict[str, bool] = {}
        """By countersigned receipt: whether all that it names was there when it was archived."""
        self.turned = False
        self._life, self._awake = 0, False
        store = coordinator.archive.store

        def watched(receipts: Any) -> None:
            for _, envelope in receipts:
                self.evidence[envelope] = evidence_of(envelope, coordinator.depot.arrived)
            store(receipts)

        coordinator.archive.store = watched  # type: ignore[method-assign]

    def after_step(self, ms: int, turned: bool) -> None:
        """One step of `ms` is over; `turned`: the coordinator came through its turn."""
        if self._life != self.coordinator.lives:
            self._life, self._awake = self.coordinator.lives, False
            self.silent_ms.clear()
            self.contact_ms.clear()
            self.away_ms.clear()
        counted = ms if turned and self._awake else 0
        for machine in self.machines:
            self._listen(machine, ms, turned, counted)
            self._hold(machine)
        self._awake = self.turned = turned
        self._note_leases()

    def _listen(self, machine: Machine, ms: int, turned: bool, counted: int) -> None:
        name = machine.name
        reached = turned and machine.reaches
        self.contact_ms[name] = self.contact_ms[name] + ms if reached else 0
        self.silent_ms[name] += counted
        self.away_ms[name] = 0 if reached else self.away_ms[name] + counted
        if self.contact_ms[name] >= HEARD_MS:
            self.silent_ms[name] = 0

    def _hold(self, machine: Machine) -> None:
        for entry in machine.journal.live():
            if entry.stop is not None:
                self._unstarted(machine, str(entry.identity))

    def _unstarted(self, machine: Machine, identity: str) -> None:
        if f"/journal/{identity}" not in machine.host.spawns:
            self.held.add(identity)

    def _note_leases(self) -> None:
        with self.coordinator.seen() as tx:
            for lease in tx.find(Lease):
                self.lives.setdefault(lease.digest, self._life)
                self.top[lease.run] = max(self.top.get(lease.run, 0), lease.lease)

    def was_signed_before(self, lease: Lease) -> bool:
        """Whether an earlier life of the coordinator signed the lease's job, as for one that is adopted."""
        return self.lives.get(lease.digest, self._life) < self._life

    def asked_to_stop(self, run: str) -> None:
        self.stops.setdefault(run, self.top.get(run, 0))

    def backup_put_back(self, under_way: set[str]) -> None:
        """The ledger has forgotten: wishes of users and what was bound since are no longer its duty."""
        self.restored |= under_way
        self.stops.clear()
        self.given_up.clear()
        self.top.clear()


def claims_in(envelope: str) -> dict[str, Any]:
    """The predicate of a signed receipt, read without the product's own types."""
    statement = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    claims: dict[str, Any] = statement["predicate"]
    return claims


def evidence_of(envelope: str, arrived: MemoryDepot) -> bool:
    """Whether everything that a receipt names is there, byte for byte."""
    claims = claims_in(envelope)
    who = claims["identity"]
    name = f"{who['run']}.{who['attempt']}.{who['fence']}"
    if claims["commit"] is not None and arrived.commits.get(name) != claims["commit"]:
        return False
    for blob in claims["blobs"]:
        data = arrived.blobs.get((name, blob["name"]))
        if data is None or hashlib.sha256(data).hexdigest() != blob["sha256"] or len(data) != blob["size"]:
            return False
    return True
