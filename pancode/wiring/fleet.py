"""The fleet's machines, for the faces: look at one, add it, bring many up at once, take one out."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from node_agent.wire.clock import Clock, Ids
from node_agent.wire.signing import PublicKey
from pancode import __version__
from pancode.adapters.bundle.store import BundleStore
from pancode.adapters.redis_bus.rights import node_user
from pancode.adapters.ssh.bringup import BroughtUp, Plan, StepReport, StepState, bring_up
from pancode.adapters.ssh.bringup import remove as take_out
from pancode.adapters.ssh.bringup import stop as halt
from pancode.adapters.ssh.connect import presented_key
from pancode.adapters.ssh.hostkey import Changed, HostKey, compare
from pancode.adapters.ssh.link import LinkKind
from pancode.adapters.ssh.probe import NodeProbe
from pancode.adapters.ssh.remote import Remote
from pancode.adapters.ssh.steps import HomeFile, StepName
from pancode.adapters.ssh.target import Overrides, Places, Target, resolve
from pancode.control.plane import Plane
from pancode.domain.fleet import NodeState
from pancode.domain.records import Node
from pancode.errors import NotFoundError, PancodeError, UnavailableError
from pancode.ports import Bus
from pancode.wiring.home import Home
from pancode.wiring.links import Links
from pancode.wiring.loop import LoopThread
from pancode.wiring.nodes import Reach, login_for

Report = Callable[[str, StepReport], None]
"""(node, step): progress of a bring-up or removal."""


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


@dataclass(frozen=True, slots=True)
class UpResult:
    """How one node's bring-up or removal ended."""

    node: str
    ok: bool
    problems: tuple[Mapping[str, str], ...] = ()
    changed: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FleetParts:
    """What the fleet is made of."""

    plane: Plane
    bus: Bus
    home: Home
    clock: Clock
    ids: Ids
    fleet: str
    key: PublicKey
    slots: int
    time_factor: float
    user_home: Path


class Fleet:
    """Synchronous; SSH runs in the loop's thread. May be called from several threads."""

    def __init__(self, parts: FleetParts, loop: LoopThread, links: Links, bundles: BundleStore) -> None:
        self.parts = parts
        self.loop = loop
        self.links = links
        self.bundles = bundles
        links.on_contact = self._contact

    def start(self) -> None:
        """Admit every enrolled node to Redis, and begin to keep its link."""
        self.admit_all()
        self._tending = self.loop.begin(self.links.tend())
        for node in self._nodes():
            if node.tag is not None and Reach.of(node).installed_home is not None:
                self.loop.call(self.links.keep(node.name), 30)

    def admit_all(self) -> None:
        """Every enrolled node has its Redis user again (a new or emptied server has none)."""
        for node in self._nodes():
            if node.tag is not None:
                self._admit(node.tag)

    def stop(self) -> None:
        """End links and servers; node agents go on."""
        self.loop.call(self.links.close(), 30)

    # -- adding ------------------------------------------------------------------------------------

    def look(self, name: str, given: Overrides, environ: Mapping[str, str]) -> Found:
        """Resolve the name and ask the host for its key. TargetError or ConnectError with the fix."""
        target = resolve(name, given, Places.of(environ))
        node = self._node(name)
        pins = Reach.of(node).pins if node is not None else {}
        login = login_for(Reach(target), (), self.parts.user_home)
        key = self.loop.call(presented_key(target, pins, login), 60)
        verdict = compare(pins.get(target.endpoint), key)
        old = verdict.old.fingerprint if isinstance(verdict, Changed) else None
        known = target.endpoint in pins and old is None
        return Found(name, target, key, key.fingerprint, known, old)

    def add(self, found: Found, labels: Mapping[str, str], slots: int | None) -> Node:
        """Put it into the inventory with this host key pinned. ConflictError when it is there."""
        reach = Reach(found.target, {found.target.endpoint: found.host_key})
        return self._add(found.name, reach, labels, slots)

    def add_local(self, name: str, home: Path | None = None, slots: int | None = None) -> Node:
        """This machine as a node, through our own SSH server. `home`: another HOME for it (demo)."""
        target = Target(name, "127.0.0.1", 0, "")
        reach = Reach(target, local=True, local_home=str(home) if home else None)
        return self._add(name, reach, {"local": "true"}, slots)

    def _add(self, name: str, reach: Reach, labels: Mapping[str, str], slots: int | None) -> Node:
        count = self.parts.slots if slots is None else slots
        node = Node(name, self.parts.clock.wall_ms(), reach.data(), dict(labels), count)
        self.parts.plane.add_node(node)
        return node

    def trust(self, found: Found) -> None:
        """Pin the key that the host presents now, after a person has looked."""

        def pin(node: Node) -> Node:
            reach = Reach.of(node)
            pins = {**reach.pins, found.target.endpoint: found.host_key}
            return replace(node, target=replace(reach, target=found.target, pins=pins).data())

        self.parts.plane.change_node(found.name, pin)
        self.loop.call(self.links.leave(found.name), 30)

    # -- bringing up ---------------------------------------------------------------------------------

    def up(self, names: Sequence[str], report: Report, agent_path: str | None = None) -> list[UpResult]:
        """Bring these nodes up (none given: all), at once. Never raises for what is wrong with a node."""
        if not names:
            self._include_this_machine()
        nodes = [self._known(name) for name in names] or [n for n in self._nodes() if n.removed is None]
        return self.loop.call(self._up_all(nodes, report, agent_path))

    def _include_this_machine(self) -> None:
        """A fleet begins with the machine it is started on; once its owner took it out, it stays out."""
        with self.parts.plane.core.ports.ledger.transaction() as tx:
            rows = tx.find(Node)
        if not any(Reach.of(row).local for row in rows):
            taken = {row.name for row in rows}
            name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:32] or "desk"
            self.add_local(name if name not in taken else "desk" if "desk" not in taken else "this-machine")

    async def _up_all(self, nodes: Sequence[Node], report: Report, agent_path: str | None) -> list[UpResult]:
        return list(await asyncio.gather(*(self._up_one(n, report, agent_path) for n in nodes)))

    async def _up_one(self, node: Node, report: Report, agent_path: str | None) -> UpResult:
        loop = asyncio.get_running_loop()
        began = loop.time()
        said = _for_node(report, node.name)
        said(StepReport(StepName.CONNECT, StepState.RUNNING, "connect"))
        try:
            out = await self._with_remote(
                node.name, agent_path, lambda remote: bring_up(remote, self._plan(node), said)
            )
        except PancodeError as error:
            said(StepReport(StepName.CONNECT, StepState.FAILED, str(error), loop.time() - began))
            return UpResult(node.name, False, (_problem(error),), (), loop.time() - began)
        return self._done(node.name, out, loop.time() - began)

    def _done(self, name: str, out: BroughtUp, seconds: float) -> UpResult:
        problems = tuple({"what": p.what, "fix": p.fix, "weight": p.weight.value} for p in out.problems)
        return UpResult(name, out.ok, problems, tuple(out.changed), seconds)

    async def _with_remote(
        self, name: str, agent_path: str | None, work: Callable[[Remote], Coroutine[Any, Any, Any]]
    ) -> Any:
        """Over the live link when there is one, else over a connection for this call alone."""
        live = self.links.remote(name)
        if live is not None:
            return await work(live)
        session = await self.links.dial(name, agent_path)
        try:
            return await work(Remote(session))
        finally:
            await session.close()

    def _plan(self, node: Node) -> Plan:
        return Plan(
            fleet=self.parts.fleet,
            store=self.bundles,
            files=lambda key, found: asyncio.to_thread(self._enrol, node.name, key, found),
            link=lambda found: self._link(node.name, found),
            heartbeat=lambda fresh: self._heard(node.name, fresh),
            wall_ms=self.parts.clock.wall_ms,
            node_home=Reach.of(node).node_home,
        )

    def _enrol(self, name: str, key: str, found: NodeProbe) -> list[HomeFile]:
        """Believe the node's key, let it into Redis, and say what its home is to hold."""
        node = self.parts.plane.enrol(name, key)
        tag = node.tag or ""

        def settle(row: Node) -> Node:
            reach = replace(Reach.of(row), installed_home=found.node_home, uid=found.uid)
            return replace(row, target=reach.data())

        self.parts.plane.change_node(name, settle)
        password = self._admit(tag)
        settings = {
            "fleet": self.parts.fleet,
            "name": name,
            "tag": tag,
            "slots": node.slots,
            "redis": {"user": node_user(tag), "password_file": "key/redis.password"},
            "time_factor": self.parts.time_factor,
        }
        return [
            HomeFile("key/coordinator.pub", f"{self.parts.key.text()}\n".encode()),
            HomeFile("key/redis.password", f"{password}\n".encode()),
            HomeFile("node.json", (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()),
        ]

    def _admit(self, tag: str) -> str:
        password = self.parts.home.node_password(tag, self.parts.ids)
        self.parts.bus.admit_node(tag, password)
        return password

    async def _link(self, name: str, found: NodeProbe) -> None:
        link = await self.links.keep(name, found)
        state = await link.wait((LinkKind.UP, LinkKind.STOPPED), 30)
        if not state.up:
            raise UnavailableError(f"the tunnel to {name} does not come up", why=state.why)

    async def _heard(self, name: str, fresh: bool) -> None:
        """Until the node agent of this version has echoed a beat (`fresh`: sent after now); 60 s at most."""
        core = self.parts.plane.core
        after = core.now().ms if fresh else core.now().ms - core.rules.deadlines.ask_ms
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 60
        while loop.time() < deadline:
            if await asyncio.to_thread(self._is_heard, name, after):
                return
            await asyncio.sleep(0.1)
        log = f"the log is log/agent.log in {Reach.of(self._known(name)).installed_home}"
        raise UnavailableError("no heartbeat came within 60 s", why=f"the node agent was started; {log}")

    def _is_heard(self, name: str, after_ms: int) -> bool:
        view = self.parts.plane.view(name)
        if view.state in (NodeState.NEW, NodeState.SUSPECT) or view.heard is None:
            return False
        beat = view.heard.heartbeat
        return beat.version == __version__ and beat.echo is not None and beat.echo.ms >= after_ms

    def down(self, names: Sequence[str], report: Report, agent_path: str | None = None) -> list[UpResult]:
        """End the node agents of these nodes (none given: all); their attempts go on and deliver later."""
        nodes = [self._known(name) for name in names] or self._nodes()
        ready = [n for n in nodes if Reach.of(n).installed_home is not None]
        return self.loop.call(self._down_all(ready, report, agent_path))

    async def _down_all(
        self, nodes: Sequence[Node], report: Report, agent_path: str | None
    ) -> list[UpResult]:
        return list(await asyncio.gather(*(self._down_one(n, report, agent_path) for n in nodes)))

    async def _down_one(self, node: Node, report: Report, agent_path: str | None) -> UpResult:
        loop = asyncio.get_running_loop()
        began, home = loop.time(), Reach.of(node).node_home
        said = _for_node(report, node.name)
        try:
            ended = await self._with_remote(
                node.name, agent_path, lambda remote: halt(remote, self.parts.fleet, said, home)
            )
        except PancodeError as error:
            return UpResult(node.name, False, (_problem(error),), (), loop.time() - began)
        return UpResult(node.name, True, (), ("stopped",) if ended else (), loop.time() - began)

    # -- taking out --------------------------------------------------------------------------------

    def remove(self, name: str, report: Report, agent_path: str | None = None) -> UpResult:
        """Take out all that we brought and prove it; a node that is away is revoked and cleaned later."""
        node = self._known(name)
        self.parts.plane.revoke(name)
        return self.loop.call(self._remove(node, report, agent_path))

    async def _remove(self, node: Node, report: Report, agent_path: str | None) -> UpResult:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reach = Reach.of(node)
        try:
            await self.links.leave(node.name)
            session = await self.links.dial(node.name, agent_path)
            try:
                said = _for_node(report, node.name)
                removed = await take_out(Remote(session), self.parts.fleet, said, reach.node_home)
            finally:
                await session.close()
        except PancodeError as error:
            problem = {**_problem(error), "fix": "nothing: it is cleaned when it is back"}
            await self._wait_for(node)
            return UpResult(node.name, False, (problem,), (), loop.time() - began)
        if removed.left:
            left = {"what": f"left there: {', '.join(removed.left)}", "fix": f"pancode node rm {node.name}"}
            return UpResult(node.name, False, (left,), (), loop.time() - began)
        await asyncio.to_thread(self._forget, node)
        return UpResult(node.name, True, (), ("removed",) if removed.changed else (), loop.time() - began)

    async def _wait_for(self, node: Node) -> None:
        """Keep the link of a revoked node, so that it is cleaned when it is back."""
        if Reach.of(node).installed_home is not None:
            await self.links.keep(node.name)

    def _forget(self, node: Node) -> None:
        self.parts.plane.forget_node(node.name)
        self.parts.home.forget_node(node.name, node.tag)

    def _contact(self, name: str) -> None:
        """A node is reached: let it into Redis (which may have forgotten it); clean it if it was removed."""
        node = self._node(name)
        if node is not None and node.removed == NodeState.NOT_CLEANED.value:
            self.loop.begin(self._remove(node, lambda _node, _step: None, None))
        elif node is not None and node.tag is not None:
            self._admit(node.tag)

    # -- the inventory -----------------------------------------------------------------------------

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


def _for_node(report: Report, name: str) -> Callable[[StepReport], None]:
    def say(step: StepReport) -> None:
        report(name, step)

    return say


def _problem(error: PancodeError) -> dict[str, str]:
    what = f"{error}: {error.why}" if error.why else str(error)
    return {"what": what, "fix": error.fix, "weight": "stop"}
