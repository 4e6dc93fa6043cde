"""Adds nodes, brings them up, stops and removes them; cleans a removed node when it is reachable again."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from pancode.fleet import inventory
from pancode.fleet.acts import Caller, NodeResult, NodeSpec, Progress, ProgressLine, ignore_line
from pancode.fleet.answers import CheckLine
from pancode.fleet.place import Reach, change_reach
from pancode.fleet.ssh import external_bringup as handed
from pancode.fleet.ssh.bringup import BringUp, problem_of
from pancode.fleet.ssh.connection import as_host_key, certified_key, presented_key
from pancode.fleet.ssh.errors import ConnectError, LinkFault, LinkLost, SshError
from pancode.fleet.ssh.hostkey import Changed, HostKey, compare_keys
from pancode.fleet.ssh.links import LinkEvents, LinkNews
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.reach import login_for, pins_of, reach_to
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.revoked import refuse_revoked
from pancode.fleet.ssh.sshconfig import Overrides, SshPlaces
from pancode.fleet.ssh.target import Target, in_session, resolve_target
from pancode.fleet.ssh.tunnel import choose_folders
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ConflictError, NotFoundError, PancodeError, RefusedError, UsageError
from pancode.kernel.node import NodeState
from pancode.kernel.records import Node
from pancode.runs.answers import Json
from pancode.runs.core import open_leases
from pancode.runs.life.case import waits_there
from pancode.runs.restored.hold import read_hold
from pancode.runs.views import format_iso


@dataclass(frozen=True, slots=True)
class KnownHost:
    """What the user's and the system's files of known hosts say of a host: its keys, the authorities whose
    certificates it may present, and the keys that it must not present."""

    keys: list[HostKey]
    authorities: list[HostKey]
    revoked: list[HostKey]


def read_known_host(target: Target, home: Path) -> KnownHost:
    """Return what the files of known hosts say of this host, in order."""
    found = KnownHost([], [], [])
    usual = (str(home / ".ssh/known_hosts"), "/etc/ssh/ssh_known_hosts")
    name, port = (target.key_name, None) if target.key_name else (target.host, target.port)
    for file in usual if target.known_hosts is None else target.known_hosts:
        try:
            known = asyncssh.read_known_hosts(file)
        except (OSError, ValueError):
            continue
        # `match` takes as its second argument an address, never a name; it finds an address as a name, too
        said = known.match(name, "", port)
        for keys, more in zip((found.keys, found.authorities, found.revoked), said[:3], strict=True):
            keys += (key for key in map(as_host_key, more) if key not in keys)
    return found


CONTACT_S = 20
_CONTACT = """\
if grep -qF " $2/" /proc/net/unix 2>/dev/null; then date +%s
else stat -c %Y "$2" "$1"/journal "$1"/journal/*; fi | sort -n | tail -n 1
"""
"""$1 the node home, $2 the folder of the link's sockets: a link that is up listens there. Else the time of
the newest change by a link or a run."""
_QUIET = (NodeState.SUSPECT, NodeState.UNREACHABLE, NodeState.LOST)
_KEEP_S = 30
T = TypeVar("T")
Work = Callable[[Node], Coroutine[Any, Any, NodeResult]]
_LOOK_S = 60
_CUT_STEP_S = 0.005
GIVES_BACK_S, GIVES_BACK_LOOKS = 10, 40
"""How many seconds a node to be stopped has to return its waiting jobs, and seconds between two checks."""


@dataclass(frozen=True, slots=True)
class HostKeyOffer:
    """The host key and login that adding a node would trust; a user is asked once to approve them."""

    name: str
    target: Target
    host_key: HostKey
    known: bool
    changed_from: str | None
    """Fingerprint of the pinned key if the node now presents another key; else None."""
    hops: Mapping[str, HostKey]
    """Keys of the jump hosts, from the user's own known_hosts files."""

    @property
    def pins(self) -> dict[str, HostKey]:
        return {**self.hops, self.target.endpoint: self.host_key}

    def question(self) -> dict[str, str]:
        """Return the question to ask before the node is added. `value`: the fingerprint that an approval must
        name."""
        seen = self.host_key.fingerprint
        text = f"{self.name} ({self.target.endpoint}) has the host key {seen}"
        if self.changed_from is not None:
            text += f", but had {self.changed_from} before: ask its owner why before you accept this"
        return {"kind": "host_key", "text": text, "value": seen}

    def check_accepted(self, fingerprint: str | None) -> None:
        """Raise UsageError if no host key was accepted, RefusedError if a different one was accepted."""
        seen = self.host_key.fingerprint
        if fingerprint is None:
            raise UsageError(
                f"the host key of {self.name} was not accepted",
                why=f"it presents {seen}",
                fix=f"compare the fingerprint on that node, then add --accept-fingerprint {seen}",
                code="fingerprint_not_accepted",
            )
        if fingerprint != seen:
            raise RefusedError(
                f"the host key of {self.name} is not the one that was accepted",
                why=f"accepted {fingerprint}, presented {seen}",
                fix="compare the fingerprint on that node: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
                code="host_key_differs",
            )


class Machines:
    """The operations on nodes: synchronous and thread-safe; SSH runs in the event loop's thread.

    `install`: makes the coordinator start after a reboot; called before each bring-up. `retire`: removes
    keys that no node needs any more; called after each bring-up.
    """

    def __init__(
        self, bringup: BringUp, loop: LoopThread, install: Callable[[], object], retire: Callable[[], None]
    ) -> None:
        self.core = bringup.core
        self._bringup, self._links, self._loop = bringup, bringup.links, loop
        self._install, self._retire = install, retire
        self._turns: dict[str, asyncio.Lock] = {}
        self._cleaned_ms: dict[str, int] = {}
        self._refused: dict[str, str] = {}
        """The changed host key that was last recorded, for each node."""

    def start(self) -> None:
        """Admit every enrolled node to Redis and start to maintain its link."""
        self.admit_all()
        self._links.events = LinkEvents(self.contact, self._is_silent, self.tried)
        self._links.settings.session.changed = lambda: self._loop.begin(self._links.revive())
        self._loop.begin(self._links.tend())
        for node in self.nodes():
            reach = Reach.of(node)
            inventory.put_halted(self.core, node.name, reach.halted)
            if node.tag is not None and reach.installed_home is not None:
                self._keep(node.name)

    def stop(self) -> None:
        """Close links and PanCode's own SSH servers; node agents continue."""
        self._loop.call(self._links.close(), _KEEP_S)

    def admit_all(self) -> None:
        """Create the Redis user of every enrolled node not in quarantine; a new server lacks these users."""
        for node in self.nodes():
            if node.tag is not None and node.quarantined is None:
                self._bringup.admit(node.tag)

    def let_in(self, names: Sequence[str]) -> None:
        """Admit these nodes to Redis when their quarantine ends, before the next check of links."""
        for name in names:
            node = self.known(name)
            if node.tag is not None and node.removed is None:
                self._bringup.admit(node.tag)

    # -- the inventory -----------------------------------------------------------------------------

    def look(self, spec: NodeSpec, caller: Caller) -> HostKeyOffer:
        """Resolve the name and fetch the host's key. Raises TargetError or ConnectError with the fix."""
        session = self._links.settings.session
        session.see(caller.environ)
        places = SshPlaces.of({**session.environ(), **caller.environ})
        node = self.find(spec.name)
        pins = pins_of(Reach.of(node)) if node is not None else {}
        return look_at_host(spec, places, pins, self._bringup.settings.user_home, self._loop)

    def probe(self, spec: NodeSpec, caller: Caller) -> Json:
        """Return the target of the alias, questions to answer before it is added, and notes; changes nothing.
        Connects only as far as the host key. Raises NotFoundError, UnavailableError."""
        if spec.local:
            return {"target": {"name": spec.name, "local": True}, "questions": [], "warnings": []}
        found = self.look(spec, caller)
        target = found.target
        fields = {"name": spec.name, "host": target.host, "port": target.port, "user": target.user}
        hops = [hop.endpoint for hop in target.hops]
        return {
            "target": {**fields, "hops": hops, "fingerprint": found.host_key.fingerprint},
            "questions": [] if found.known else [found.question()],
            "warnings": list(target.warnings),
        }

    def add(self, spec: NodeSpec, caller: Caller) -> Node:
        """Add the node with the accepted host key pinned. Raises ConflictError if the name is taken."""
        if spec.local:
            return self._enlist_node(self._this_machine(spec))
        found = self.look(spec, caller)
        if not found.known or spec.fingerprint is not None:
            found.check_accepted(spec.fingerprint)
        reach = reach_to(found.target, found.pins, fleet_key=spec.fleet_key, node_home=spec.node_home)
        node = self._enlist_node(self._make_node(spec, reach))

        async def log_in() -> None:
            session = await self._links.dial(node.name, None, looks=True)
            await session.close()

        try:
            self._loop.call(log_in(), _LOOK_S)
        except SshError as error:  # the node is added, and its record says what is wrong
            inventory.put_link(self.core, node.name, True, f"{error}: {error.why}".rstrip(": "), error.fix)
        return node

    def trust(self, name: str, fingerprint: str, caller: Caller) -> NodeResult:
        """Pin the changed host key that the user has checked; the node's link restarts."""
        found = self.look(NodeSpec(name), caller)
        found.check_accepted(fingerprint)

        def pin(node: Node) -> Node:
            reach = Reach.of(node)
            fresh = reach_to(found.target, {**pins_of(reach), **found.pins})
            return replace(node, target=to_json(replace(reach, target=fresh.target, pins=fresh.pins)))

        inventory.change(self.core, name, pin)
        self.core.live.record_trust(
            "warning", "host key trusted", node=name, by=caller.by, now=fingerprint, before=found.changed_from
        )
        self._refused.pop(name, None)
        self._loop.call(self._links.leave(name), _KEEP_S)
        if Reach.of(self.known(name)).installed_home is not None:
            self._keep(name)
        return NodeResult(name, True, changed=("host key",))

    def _make_node(self, spec: NodeSpec, reach: Reach) -> Node:
        slots, least = self._bringup.settings.slots, self._bringup.settings.least
        if spec.slots is not None:
            slots, least = spec.slots, spec.least
        return Node(spec.name, self.core.wall_ms(), to_json(reach), dict(spec.labels), slots, least=least)

    def _this_machine(self, spec: NodeSpec) -> Node:
        """Return the node for this machine, which is reached through PanCode's own SSH server."""
        target = Target(spec.name, "127.0.0.1", 0, "")
        labels = {"local": "true", **spec.labels}
        return self._make_node(
            replace(spec, labels=labels),
            reach_to(target, local=True, local_home=spec.local_home, node_home=spec.node_home),
        )

    def _enlist_node(self, node: Node) -> Node:
        inventory.add(self.core, node)
        # reset the recorded state of an earlier node with this name
        inventory.put_link(self.core, node.name, trying=True)
        inventory.put_halted(self.core, node.name, False)
        return node

    # -- bring-up, halt, removal ----------------------------------------------------------------------

    def up(self, names: Sequence[str], caller: Caller, progress: Progress) -> list[NodeResult]:
        """Install, start and check nodes; no names: all, and this machine if the fleet is empty. Idempotent.
        May take minutes."""
        self._install()
        results = self._brought_up(names, caller, progress)
        self._retire()
        return [result.news() for result in results]

    def doctor(self, names: Sequence[str], caller: Caller) -> list[CheckLine]:
        """Return problems of nodes and links: `{"node", "what", "ok", "fix"}`; a note counts as ok. Works
        like a second bring-up, which changes nothing that is right and reports everything that is wrong."""
        results = self._brought_up(names, caller, ignore_line)
        problems: list[CheckLine] = [
            {"node": r.node, "what": p["what"], "ok": p.get("weight") == "note", "fix": p["fix"]}
            for r in results
            for p in r.problems
        ]
        fine: list[CheckLine] = [
            {"node": r.node, "what": "reached, checked", "ok": True, "fix": ""} for r in results if r.ok
        ]
        return problems + fine

    def _brought_up(self, names: Sequence[str], caller: Caller, progress: Progress) -> list[NodeResult]:
        if not names:
            # without any node, a fleet starts with this machine, unless the user has removed it
            with self.core.ports.ledger.transaction() as tx:
                rows = tx.find(Node)
            if not any(row.removed is None or Reach.of(row).local for row in rows):
                used = {row.name for row in rows}
                name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:32] or "desk"
                name = name if name not in used else "desk" if "desk" not in used else "this-machine"
                # two `fleet up` ran at the same time: the other one has just added the node
                with suppress(ConflictError):
                    self._enlist_node(self._this_machine(NodeSpec(name, local=True)))
        self._links.settings.session.see(caller.environ)
        with self.core.ports.ledger.transaction() as tx:
            hold = None if names else read_hold(tx)
        unheard = [] if hold is None else [one.name for one in self.nodes() if not hold.has_heard(one.tag)]

        async def bring_up(node: Node) -> NodeResult:
            home = Reach.of(node).installed_home
            if node.name in unheard and home is not None:
                looks = "test", "-d", f"{home}/journal"
                found = await self._bringup.with_remote(
                    node.name, caller.agent, lambda remote: remote.run(looks, CONTACT_S)
                )
                if found.status != 0:
                    what = "no node agent of this fleet is there: it may have been removed since the copy"
                    fix = f"pancode fleet up {node.name}, or pancode node rm {node.name}"
                    return NodeResult(node.name, False, ({"what": what, "fix": fix},))
            return await self._bringup.up(node, progress, caller.agent)

        return self._on_each([node.name for node in self._select_nodes(names)], progress, bring_up)

    def down(self, names: Sequence[str], caller: Caller, progress: Progress) -> list[NodeResult]:
        """Stop the agents of these nodes (none given: all); attempts belong to their shims and continue.

        Jobs that wait for a slot on a reachable node are returned first, to start on other nodes. Only `fleet
        up` starts the agents again.
        """
        nodes = [self.known(name) for name in names] or self.nodes()

        async def halt(node: Node) -> NodeResult:
            heard = self.core.view_of(node).state is NodeState.ONLINE
            await asyncio.to_thread(self._halt_node, node.name)
            for _ in range(GIVES_BACK_LOOKS if heard else 0):
                if not await asyncio.to_thread(self._holds_jobs, node.name):
                    break
                await asyncio.sleep(GIVES_BACK_S / GIVES_BACK_LOOKS)
            return await self._bringup.down(node, progress, caller.agent)

        ready = [n.name for n in nodes if Reach.of(n).installed_home is not None]
        return self._on_each(ready, progress, halt)

    def _halt_node(self, name: str) -> None:
        inventory.change(self.core, name, partial(change_reach, halted=True))
        inventory.put_halted(self.core, name, True)

    def _holds_jobs(self, name: str) -> bool:
        """Whether jobs wait for a slot on the node; the coordinator's passes request their return."""
        with self.core.ports.ledger.transaction() as tx:
            return any(lease.node == name and waits_there(lease) for lease in open_leases(tx))

    def remove(self, name: str, caller: Caller, progress: Progress) -> NodeResult:
        """Remove everything of PanCode and verify it; an unreachable node is revoked, and cleaned later."""
        inventory.revoke(self.core, self.known(name).name)
        work = partial(self._bringup.remove, progress=progress, agent_path=caller.agent)
        (result,) = self._on_each([name], progress, work)
        # the node was reached, and therefore already cleaned, before this command
        if not result.ok and self.find(name) is None:
            return NodeResult(name, True, (), ("removed",))
        return result

    def handed(self, name: str, probe: str | None, key: str | None, remove: bool) -> Json:
        """Return the next steps of a bring-up or removal that another tool carries out on the node.

        `probe`: the output of our probe on the node; None: the answer is `{"look"}`, the probe itself; else
        `{"steps", "key"}`. `key`: the key that the node has made, which is then enrolled. Idempotent. Raises
        NotFoundError (a removal takes any name), UsageError, UnavailableError for an unsuitable node.
        """
        node = self.find(name) if remove else self.known(name)
        if probe is None:
            return handed.make_probe(self._bringup, node)
        if node is None or remove:
            return handed.plan_removal(self._bringup, probe)
        if key is None:
            return handed.plan_steps(self._bringup, node, probe)
        return handed.enrol_key(self._bringup, node, probe, key)

    def cleaned(self, name: str) -> bool:
        """Forget a node that another tool has cleaned and checked; return whether it is now forgotten. Only a
        node that was removed but not cleaned is forgotten. Idempotent; any name may be given."""
        if not self._is_owed(name):
            return False
        (result,) = self._on_each([name], ignore_line, self._bringup.cleaned)
        return result.ok

    def _on_each(self, names: Sequence[str], progress: Progress, work: Work) -> list[NodeResult]:
        """Do the work on all nodes in parallel, but only one command at a time on each node.

        An error on a node is that node's result. A command continues after its caller has detached, since the
        next command would otherwise find the node half-done.
        """

        async def one(name: str) -> NodeResult:
            turn = self._turns.setdefault(name, asyncio.Lock())
            if turn.locked():
                words = "another command is running on this node: waiting"
                progress(ProgressLine(name, "connect", "started", words))
            try:
                async with turn:
                    began = self._loop.loop.time()
                    done = await work(await asyncio.to_thread(self.known, name))
                    return replace(done, seconds=self._loop.loop.time() - began)
            except Exception as error:
                return NodeResult(name, False, (problem_of(error, name),))

        async def together() -> list[NodeResult]:
            return list(await asyncio.gather(*(one(name) for name in names)))

        return self._loop.call(together())

    # -- reports of links ---------------------------------------------------------------------------

    def contact(self, name: str) -> None:
        """After a node was reached, admit it to Redis (which may have lost the node's user), or clean it."""
        node = self.find(name)
        if self._is_owed(name):
            if self._may_clean(name):
                self._loop.begin(self._clean_node(name))
        elif node is not None and node.tag is not None and node.quarantined is None:
            self._bringup.admit(node.tag)

    def _may_clean(self, name: str) -> bool:
        """Whether to clean now: a try makes a new contact, so one per interval of link checks is enough."""
        now = self.core.ports.clock.mono_ms()
        last = self._cleaned_ms.get(name)
        if last is not None and now - last < self._links.settings.tend_s * 1000:
            return False
        self._cleaned_ms[name] = now
        return True

    async def _clean_node(self, name: str) -> None:
        """Clean a removed node, unless another command (such as the removal itself) is running on it."""
        turn = self._turns.setdefault(name, asyncio.Lock())
        if turn.locked():
            return
        async with turn:
            node = await asyncio.to_thread(self.find, name)
            if node is not None and node.removed == NodeState.NOT_CLEANED.value:
                await self._bringup.remove(node, ignore_line, None)

    def tried(self, name: str, news: LinkNews) -> None:
        """Record an update on the node's link: its state, and once per new key, that the host key has
        changed."""
        inventory.count_link_state(self.core, name, news.up, news.broken)
        # a changed key is recorded once, however often the link is tried
        if news.changed_key and self._refused.get(name) != news.changed_key:
            self._refused[name] = news.changed_key
            self.core.live.record_trust("error", "changed host key refused", node=name, why=news.changed_key)
        inventory.put_link(self.core, name, news.trying, news.why, news.fix)

    def _is_silent(self, name: str) -> bool:
        """Whether the node has been silent for so long that the node agent may have died."""
        node = self.find(name)
        return (
            node is not None and node.tag is not None and inventory.get_view(self.core, name).state in _QUIET
        )

    def _keep(self, name: str) -> None:
        self._loop.call(self._links.keep(name), _KEEP_S)

    def begin(self, name: str, work: Callable[[Remote], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begin work on a node, over its live link or a connection for this work only; do not wait. The
        result raises ConnectError if the node cannot be reached."""
        return self._loop.begin(self._bringup.with_remote(name, None, work))

    def list_contacts(self) -> list[str]:
        """Return for each node when a coordinator was last in contact with it. Changes nothing there."""

        async def ask(node: Node, home: str) -> str:
            try:
                async with asyncio.timeout(CONTACT_S):
                    session = await self._links.dial(node.name, looks=True)
                    try:
                        folder = choose_folders(home, Reach.of(node).uid or 0).sockets
                        done = await Remote(session).run(
                            ("sh", "-c", _CONTACT, "sh", home, folder), CONTACT_S
                        )
                    finally:
                        await session.close()
                at = format_iso(int(done.text) * 1_000)
                return f"{node.name} was last in contact with a coordinator at {at}"
            except (PancodeError, OSError, ValueError):
                return f"{node.name} cannot be asked now"

        async def together() -> list[str]:
            known = [(node, Reach.of(node).installed_home) for node in self.nodes()]
            return list(await asyncio.gather(*(ask(node, home) for node, home in known if home is not None)))

        return self._loop.call(together())

    def cut_link(self, name: str) -> None:
        """End the connection of the node's link without a farewell, and return when the link has noticed it;
        the link reconnects by itself. ConflictError if the link is not up."""

        async def cut() -> None:
            remote = self._links.remote(name)
            if remote is None:
                raise ConflictError(f"the link to {name} is not up", fix=f"pancode fleet up {name}")
            remote.conn.abort()
            with suppress(LinkLost):
                while self._links.remote(name) is remote:
                    await asyncio.sleep(_CUT_STEP_S)

        self._loop.call(cut(), _KEEP_S)

    def is_linked(self, name: str) -> bool:
        """Whether the link to the node is up now."""
        state = self._links.state(name)
        return state is not None and state.up

    # -- rows ----------------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """Return all nodes except those that were removed and cleaned."""
        with self.core.ports.ledger.transaction() as tx:
            return [n for n in tx.find(Node) if n.removed != NodeState.REMOVED.value]

    def find(self, name: str) -> Node | None:
        return next((n for n in self.nodes() if n.name == name), None)

    def known(self, name: str) -> Node:
        """Return the node of this name. Raises NotFoundError."""
        node = self.find(name)
        if node is None:
            raise NotFoundError(f"node {name} not found", fix="pancode node ls")
        return node

    def _select_nodes(self, names: Sequence[str]) -> list[Node]:
        return [self.known(name) for name in names] or [n for n in self.nodes() if n.removed is None]

    def _is_owed(self, name: str) -> bool:
        node = self.find(name)
        return node is not None and node.removed == NodeState.NOT_CLEANED.value


def look_at_host(
    spec: NodeSpec, places: SshPlaces, pins: Mapping[str, HostKey], user_home: Path, loop: LoopThread
) -> HostKeyOffer:
    """Resolve a name as the user's ssh does, and fetch the host's key. `pins`: keys that are already
    accepted. Raises TargetError or ConnectError with the fix."""
    given = Overrides(spec.host, spec.user, spec.port, spec.identity)
    stored = resolve_target(spec.name, given, places)
    target = in_session(stored, places.environ)
    login = login_for(reach_to(target), (), user_home, places.environ)
    hops = dict[str, HostKey]()

    def ask(one: Target, known: KnownHost) -> tuple[HostKey, bool]:
        """Return the key that the server presents, and whether the user's files accept it."""
        accepted, key = {**pins, **hops}, None
        if known.authorities:
            asked = certified_key(one, accepted, login, known.authorities, known.revoked)
            key = loop.call(asked, _LOOK_S)
        is_known = key is not None
        if key is None:
            key = loop.call(presented_key(one, accepted, login, known=known.keys), _LOOK_S)
            is_known = key in known.keys or one.accepts == "any" or (one.accepts == "new" and not known.keys)
        if key in known.revoked:
            raise ConnectError(
                LinkFault.HOST_KEY_UNKNOWN,
                f"the host key of {one.alias} is revoked",
                why=f"your known_hosts files mark {key.fingerprint} as @revoked",
                fix=f"ask the owner of {one.host} for its new key; then repeat the command",
            )
        return key, is_known

    # A target of one login session must not be put into a session again, so the stored ones are asked.
    for place, (hop, stored_hop) in enumerate(zip(target.hops, stored.hops, strict=True)):
        known = read_known_host(hop, places.home)
        if hop.endpoint in pins:
            hops[hop.endpoint] = pins[hop.endpoint]
        elif len(known.keys) == 1 and not (known.authorities or known.revoked or hop.accepts == "any"):
            hops[hop.endpoint] = known.keys[0]
        elif not known.keys and not known.authorities and not hop.accepts:
            raise _make_unknown_error(hop)
        else:  # an old key may be in the files beside the right one
            shown, is_known = ask(replace(stored_hop, hops=stored.hops[:place]), known)
            hops[hop.endpoint] = shown if is_known or not known.keys else known.keys[0]
            if not is_known and not known.keys:
                raise _make_unknown_error(hop)
    key, is_known = ask(stored, read_known_host(target, places.home))
    refuse_revoked(target.alias, target.revoked, key)
    verdict = compare_keys(pins.get(target.endpoint), key)
    old = verdict.old.fingerprint if isinstance(verdict, Changed) else None
    return HostKeyOffer(
        spec.name, stored, key, (target.endpoint in pins or is_known) and old is None, old, hops
    )


def _make_unknown_error(hop: Target) -> ConnectError:
    return ConnectError(
        LinkFault.HOST_KEY_UNKNOWN,
        f"the jump host {hop.endpoint} is unknown",
        why="the jump host's key is not in your known_hosts files",
        fix=f"log in to the jump host once by hand (ssh {hop.alias}), compare its key, then repeat the "
        "command",
    )
