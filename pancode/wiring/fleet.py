"""The fleet's machines as SSH knows them: probe one, pin its key, add it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pancode.core.records import Node
from pancode.fleet import inventory
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.machines import Machines
from pancode.fleet.ssh.connect import presented_key
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.hostkey import Changed, HostKey, compare
from pancode.fleet.ssh.knownhosts import known_key
from pancode.fleet.ssh.target import Overrides, SshPlaces, Target, resolve
from pancode.nodes.place import Reach
from pancode.wiring.bringup import BringUp, FleetParts
from pancode.wiring.handed import Handed
from pancode.wiring.hands import SshHands
from pancode.wiring.links import Links
from pancode.wiring.loop import LoopThread
from pancode.wiring.nodes import login_for, pins_of, reach_to


@dataclass(frozen=True, slots=True)
class HostKeyOffer:
    """The host key and login that adding a node would trust: shown, and asked for once."""

    name: str
    target: Target
    host_key: HostKey
    fingerprint: str
    known: bool
    changed_from: str | None
    """Fingerprint of the pinned key when another one is presented now."""
    hops: Mapping[str, HostKey]
    """Keys of the jump hosts, from the user's own known_hosts."""


class Fleet(Machines):
    """Synchronous; SSH runs in the loop's thread. May be called from several threads."""

    def __init__(self, parts: FleetParts, loop: LoopThread, links: Links, bundles: BundleStore) -> None:
        self.parts = parts
        self.loop = loop
        bringup = BringUp(parts, links, bundles)
        super().__init__(parts.core, parts.clock, SshHands(bringup, links, loop))
        self._handed = Handed(bringup)

    def look(self, name: str, given: Overrides, environ: Mapping[str, str]) -> HostKeyOffer:
        """Resolve the name and ask the host for its key. TargetError or ConnectError with the fix."""
        places = SshPlaces.of(environ)
        target = resolve(name, given, places)
        node = self.find(name)
        pins = pins_of(Reach.of(node)) if node is not None else {}
        hops = {hop.endpoint: pins.get(hop.endpoint) or _hop_key(hop, places) for hop in target.hops}
        login = login_for(reach_to(target), (), self.parts.user_home)
        key = self.loop.call(presented_key(target, {**pins, **hops}, login), 60)
        verdict = compare(pins.get(target.endpoint), key)
        old = verdict.old.fingerprint if isinstance(verdict, Changed) else None
        known = target.endpoint in pins and old is None
        return HostKeyOffer(name, target, key, key.fingerprint, known, old, hops)

    def add(
        self,
        found: HostKeyOffer,
        labels: Mapping[str, str],
        slots: int | None,
        fleet_key: bool,
        direct: bool = False,
    ) -> Node:
        """Put it into the inventory with this host key pinned. ConflictError, ConfigError."""
        if direct:
            self.parts.direct.allowed([found.name])
        pins = {**found.hops, found.target.endpoint: found.host_key}
        reach = reach_to(found.target, pins, fleet_key=fleet_key, direct=direct)
        return self.enlist(self.parts.node(found.name, reach, labels, slots))

    def add_local(
        self,
        name: str,
        home: Path | None = None,
        slots: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Node:
        """This machine as a node, through our own SSH server. `home`: another HOME for it (demo)."""
        return self.enlist(self.parts.this_machine(name, home, slots, labels or {}))

    def trust(self, found: HostKeyOffer, by: str) -> None:
        """Pin the key that the host presents now, after a person has looked; its link starts anew."""

        def pin(node: Node) -> Node:
            reach = Reach.of(node)
            pins = {**pins_of(reach), **found.hops, found.target.endpoint: found.host_key}
            fresh = reach_to(found.target, pins)
            return replace(node, target=replace(reach, target=fresh.target, pins=fresh.pins).data())

        inventory.change(self.core, found.name, pin)
        self.trusted(found.name, by, found.fingerprint, found.changed_from)

    def handed(self, name: str, probe: str | None, key: str | None, remove: bool) -> dict[str, Any]:
        """The next steps for a tool that carries them out itself. NotFoundError; a removal knows any name."""
        node = self.find(name) if remove else self.known(name)
        if probe is None:
            return self._handed.look(node)
        if node is None or remove:
            return self._handed.removal(probe)
        return self._handed.plan(node, probe) if key is None else self._handed.enrolled(node, probe, key)


def _hop_key(hop: Target, places: SshPlaces) -> HostKey:
    """A jump host is one that the user has met: its key is in known_hosts, or nothing goes through it."""
    files = (places.home / ".ssh/known_hosts", Path("/etc/ssh/ssh_known_hosts"))
    key = known_key(hop, files)
    if key is None:
        raise ConnectError(
            LinkFault.HOST_KEY_UNKNOWN,
            f"the jump host {hop.endpoint} is not known",
            why="its key is in no known_hosts file of yours",
            fix=f"log in there once by hand (ssh {hop.alias}), compare its key, then try again",
        )
    return key
