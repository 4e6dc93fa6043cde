"""The fleet's machines, for the faces: look at one, add it, bring many up at once, take one out."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pancode.adapters.bundle.store import BundleStore
from pancode.adapters.ssh.bringup import StepReport, StepState
from pancode.adapters.ssh.connect import presented_key
from pancode.adapters.ssh.errors import ConnectError, LinkFault
from pancode.adapters.ssh.hostkey import Changed, HostKey, compare
from pancode.adapters.ssh.knownhosts import known_key
from pancode.adapters.ssh.link import LinkKind, LinkState
from pancode.adapters.ssh.steps import StepName
from pancode.adapters.ssh.target import Overrides, Places, Target, resolve
from pancode.domain.fleet import NodeState
from pancode.domain.records import Node
from pancode.errors import ConflictError, NotFoundError, UsageError
from pancode.wiring.bringup import BringUp, FleetParts, Report, UpResult, problem_of
from pancode.wiring.handed import Handed
from pancode.wiring.links import Links
from pancode.wiring.loop import LoopThread
from pancode.wiring.nodes import Reach, login_for

_QUIET = (NodeState.SUSPECT, NodeState.UNREACHABLE, NodeState.LOST)
One = Callable[[Node, Report, str | None], Coroutine[Any, Any, UpResult]]


@dataclass(frozen=True, slots=True)
class Found:
    """What adding a node would trust: shown, and asked for once."""

    name: str
    target: Target
    host_key: HostKey
    fingerprint: str
    known: bool
    changed_from: str | None
    """Fingerprint of the pinned key when another one is presented now."""
    hops: Mapping[str, HostKey]
    """Keys of the jump hosts, from the user's own known_hosts."""


class Fleet:
    """Synchronous; SSH runs in the loop's thread. May be called from several threads."""

    def __init__(self, parts: FleetParts, loop: LoopThread, links: Links, bundles: BundleStore) -> None:
        self.parts = parts
        self.loop = loop
        self.links = links
        self._cleaned_ms: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        """By node: the changed host key that was put on record last."""
        self._turns: dict[str, asyncio.Lock] = {}
        self._bringup = BringUp(parts, links, bundles)
        self._handed = Handed(self._bringup)
        links.on_contact = self._contact
        links.silent = self._silent
        links.on_state = self._tried

    def start(self) -> None:
        """Admit every enrolled node to Redis, and begin to keep its link."""
        self.admit_all()
        self._tending = self.loop.begin(self.links.tend())
        for node in self._nodes():
            reach = Reach.of(node)
            self.parts.plane.put_halted(node.name, reach.halted)
            if node.tag is not None and reach.installed_home is not None:
                self.loop.call(self.links.keep(node.name), 30)

    def admit_all(self) -> None:
        """Every enrolled node has its Redis user again (a new server has none), but in quarantine."""
        for node in self._nodes():
            if node.tag is not None and node.quarantined is None:
                self._bringup.admit(node.tag)

    def stop(self) -> None:
        """End links and servers; node agents go on."""
        self.loop.call(self.links.close(), 30)

    # -- the inventory -----------------------------------------------------------------------------

    def look(self, name: str, given: Overrides, environ: Mapping[str, str]) -> Found:
        """Resolve the name and ask the host for its key. TargetError or ConnectError with the fix."""
        places = Places.of(environ)
        target = resolve(name, given, places)
        node = self._node(name)
        pins = dict(Reach.of(node).pins) if node is not None else {}
        hops = {hop.endpoint: pins.get(hop.endpoint) or _hop_key(hop, places) for hop in target.hops}
        login = login_for(Reach(target), (), self.parts.user_home)
        key = self.loop.call(presented_key(target, {**pins, **hops}, login), 60)
        verdict = compare(pins.get(target.endpoint), key)
        old = verdict.old.fingerprint if isinstance(verdict, Changed) else None
        known = target.endpoint in pins and old is None
        return Found(name, target, key, key.fingerprint, known, old, hops)

    def add(
        self,
        found: Found,
        labels: Mapping[str, str],
        slots: int | None,
        fleet_key: bool,
        direct: bool = False,
    ) -> Node:
        """Put it into the inventory with this host key pinned. ConflictError, ConfigError."""
        if direct:
            self.parts.direct.allowed([found.name])
        pins = {**found.hops, found.target.endpoint: found.host_key}
        reach = Reach(found.target, pins, fleet_key=fleet_key, direct=direct)
        return self._add(found.name, reach, labels, slots)

    def add_local(
        self,
        name: str,
        home: Path | None = None,
        slots: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Node:
        """This machine as a node, through our own SSH server. `home`: another HOME for it (demo)."""
        target = Target(name, "127.0.0.1", 0, "")
        reach = Reach(target, local=True, local_home=str(home) if home else None)
        return self._add(name, reach, {"local": "true", **(labels or {})}, slots)

    def _add(self, name: str, reach: Reach, labels: Mapping[str, str], slots: int | None) -> Node:
        count = self.parts.slots if slots is None else slots
        node = Node(name, self.parts.clock.wall_ms(), reach.data(), dict(labels), count)
        self.parts.plane.add_node(node)
        self.parts.plane.put_link(name, trying=True)  # whatever was said of an earlier one of that name
        self.parts.plane.put_halted(name, False)
        return node

    def let_in(self, names: Sequence[str]) -> None:
        """These have their Redis users now, and not only at the next look after their links."""
        for name in names:
            node = self._known(name)
            if node.tag is not None and node.removed is None:
                self._bringup.admit(node.tag)

    def trust(self, found: Found, by: str) -> None:
        """Pin the key that the host presents now, after a person has looked; its link starts anew."""

        def pin(node: Node) -> Node:
            reach = Reach.of(node)
            pins = {**reach.pins, **found.hops, found.target.endpoint: found.host_key}
            return replace(node, target=replace(reach, target=found.target, pins=pins).data())

        node = self.parts.plane.change_node(found.name, pin)
        told = {"node": found.name, "by": by, "now": found.fingerprint, "before": found.changed_from}
        self.parts.plane.put_on_record("warning", "host key trusted", **told)
        self._refused.pop(found.name, None)
        self.loop.call(self.links.leave(found.name), 30)
        if Reach.of(node).installed_home is not None:
            self.loop.call(self.links.keep(found.name), 30)

    # -- bringing up, halting, taking out ------------------------------------------------------------

    def up(self, names: Sequence[str], report: Report, agent_path: str | None = None) -> list[UpResult]:
        """Bring these nodes up (none given: all, and this machine), at once."""
        if not names:
            self._include_this_machine()
        nodes = [self._known(name) for name in names] or [n for n in self._nodes() if n.removed is None]
        return self._each(self._bringup.up, nodes, report, agent_path)

    def set_link(self, names: Sequence[str], direct: bool) -> None:
        """How these (none given: all but this machine) come to Redis and the depot from the next bring-up on.

        ConfigError where nothing of ours listens; UsageError for this machine, which needs neither.
        """
        nodes = [self._known(name) for name in names] or [n for n in self._nodes() if n.removed is None]
        ours = [n.name for n in nodes if Reach.of(n).local]
        if names and ours:
            raise UsageError(
                f"{', '.join(ours)} is this machine, which reaches Redis and the depot by name",
                fix="leave --link out for it",
            )
        chosen = [n.name for n in nodes if n.name not in ours]
        if direct:
            self.parts.direct.allowed(chosen)
        for name in chosen:
            self.parts.plane.change_node(name, lambda row: _linked(row, direct))

    def down(self, names: Sequence[str], report: Report, agent_path: str | None = None) -> list[UpResult]:
        """End the node agents of these nodes (none given: all); their attempts go on and deliver later."""
        nodes = [self._known(name) for name in names] or self._nodes()
        ready = [n for n in nodes if Reach.of(n).installed_home is not None]
        return self._each(self._down, ready, report, agent_path)

    def remove(self, name: str, report: Report, agent_path: str | None = None) -> UpResult:
        """Take out all that we brought and prove it; a node that is away is revoked and cleaned later."""
        node = self._known(name)
        self.parts.plane.revoke(name)
        (result,) = self._each(self._bringup.remove, [node], report, agent_path)
        if not result.ok and self._node(name) is None:  # a contact was before us, and has cleaned it
            return UpResult(name, True, (), ("removed",))
        return result

    def handed(self, name: str, probe: str | None, key: str | None, remove: bool) -> dict[str, Any]:
        """The next steps for a tool that carries them out itself. NotFoundError; a removal knows any name."""
        node = self._node(name) if remove else self._known(name)
        if probe is None:
            return self._handed.look(node)
        if node is None or remove:
            return self._handed.removal(probe)
        return self._handed.plan(node, probe) if key is None else self._handed.enrolled(node, probe, key)

    def cleaned(self, name: str) -> bool:
        """Another tool has cleaned it: one whose cleaning we still owe is forgotten."""
        node = self._node(name)
        if node is None or node.removed != NodeState.NOT_CLEANED.value:
            return False
        (result,) = self._each(self._bringup.cleaned, [node], lambda _node, _step: None, None)
        return result.ok

    def _each(
        self, work: One, nodes: Sequence[Node], report: Report, agent_path: str | None
    ) -> list[UpResult]:
        """All at once, but on one machine one command after the other; what goes wrong is that one's result.

        A command goes on here when who gave it has detached: the next one would meet it half-way.
        """

        async def one(node: Node) -> UpResult:
            turn = self._turns.setdefault(node.name, asyncio.Lock())
            if turn.locked():
                words = "another command is at work on it: waiting"
                report(node.name, StepReport(StepName.CONNECT, StepState.RUNNING, words))
            try:
                async with turn:
                    now = await asyncio.to_thread(self._known, node.name)
                    return await work(now, report, agent_path)
            except Exception as error:
                return UpResult(node.name, False, (problem_of(error),))

        async def together() -> list[UpResult]:
            return list(await asyncio.gather(*(one(node) for node in nodes)))

        return self.loop.call(together())

    async def _down(self, node: Node, report: Report, agent_path: str | None) -> UpResult:
        def halt() -> None:
            self.parts.plane.change_node(node.name, _halt)
            self.parts.plane.put_halted(node.name, True)

        await asyncio.to_thread(halt)
        return await self._bringup.down(node, report, agent_path)

    def _include_this_machine(self) -> None:
        """A fleet begins with the machine it is started on; once its owner took it out, it stays out."""
        with self.parts.plane.core.ports.ledger.transaction() as tx:
            rows = tx.find(Node)
        if not any(Reach.of(row).local for row in rows):
            taken = {row.name for row in rows}
            name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:32] or "desk"
            name = name if name not in taken else "desk" if "desk" not in taken else "this-machine"
            with suppress(ConflictError):  # two `fleet up` at once: the other one has just added it
                self.add_local(name)

    def _contact(self, name: str) -> None:
        """A node is reached: let it into Redis (which may have forgotten it); clean it if it was removed."""
        node = self._node(name)
        if node is not None and node.removed == NodeState.NOT_CLEANED.value:
            if self._may_clean(name):
                self.loop.begin(self._clean(name))
        elif node is not None and node.tag is not None and node.quarantined is None:
            self._bringup.admit(node.tag)

    async def _clean(self, name: str) -> None:
        """Unless a command is at work on it, such as the removal itself: each would end the other's."""
        turn = self._turns.setdefault(name, asyncio.Lock())
        if turn.locked():
            return
        async with turn:
            node = await asyncio.to_thread(self._node, name)
            if node is not None and node.removed == NodeState.NOT_CLEANED.value:
                await self._bringup.remove(node, lambda _node, _step: None, None)

    def _may_clean(self, name: str) -> bool:
        """Each try ends the link and dials anew, which is a contact: one in the time of a tending will do."""
        now = self.parts.clock.mono_ms()
        last = self._cleaned_ms.get(name)
        if last is not None and now - last < self.links.settings.tend_s * 1000:
            return False
        self._cleaned_ms[name] = now
        return True

    def _tried(self, name: str, state: LinkState) -> None:
        """A link that waits for a person, or that is not kept, tries nothing.

        What only a person heals is told while it is tried, too.
        """
        broken = state.kind in (LinkKind.DOWN, LinkKind.STOPPED)
        self.parts.plane.put_link_state(name, state.up, broken)
        trying = state.kind not in (LinkKind.STOPPED, LinkKind.CLOSED)
        fix = state.error.fix.replace("NODE", name) if state.error is not None else ""
        if state.error is not None and state.error.fault is LinkFault.HOST_KEY_CHANGED:
            self._put_refusal_on_record(name, state.why)
        self.parts.plane.put_link(name, trying, state.why if state.stuck or not trying else "", fix)

    def _put_refusal_on_record(self, name: str, why: str) -> None:
        """Once, however often the link is tried."""
        if self._refused.get(name) != why:
            self._refused[name] = why
            self.parts.plane.put_on_record("error", "changed host key refused", node=name, why=why)

    def _silent(self, name: str) -> bool:
        """Whether nothing was heard of the node for so long that its agent may have died."""
        node = self._node(name)
        return node is not None and node.tag is not None and self.parts.plane.view(name).state in _QUIET

    def _nodes(self) -> list[Node]:
        with self.parts.plane.core.ports.ledger.transaction() as tx:
            return [n for n in tx.find(Node) if n.removed != NodeState.REMOVED.value]

    def _node(self, name: str) -> Node | None:
        return next((n for n in self._nodes() if n.name == name), None)

    def _known(self, name: str) -> Node:
        node = self._node(name)
        if node is None:
            raise NotFoundError(f"no node {name} in the fleet", fix="pancode node ls")
        return node


def _linked(node: Node, direct: bool) -> Node:
    return replace(node, target=replace(Reach.of(node), direct=direct).data())


def _halt(node: Node) -> Node:
    """Only `fleet up` starts its node agent again."""
    return replace(node, target=replace(Reach.of(node), halted=True).data())


def _hop_key(hop: Target, places: Places) -> HostKey:
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
