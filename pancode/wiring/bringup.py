"""Brings one machine up over SSH, halts it, or takes it out. Runs in the event loop's thread."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

from node_agent.wire.clock import Clock, Ids
from pancode import __version__
from pancode.bus.rights import node_user
from pancode.control import keyring
from pancode.control.core import Core
from pancode.control.faces import NodeResult, Progress, ProgressLine, ProgressState
from pancode.core.records import Node
from pancode.errors import ConflictError, PancodeError, UnavailableError
from pancode.fleet import inventory, quota
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.ssh import steps
from pancode.fleet.ssh.bringup import BringUpPlan, BroughtUp, StepReport, StepState, bring_up
from pancode.fleet.ssh.bringup import remove as take_out
from pancode.fleet.ssh.bringup import stop as halt
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.fleetkey import authorized_line, marker
from pancode.fleet.ssh.perform import perform
from pancode.fleet.ssh.probe import NodeProbe, probe
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.skills import act_on
from pancode.fleet.ssh.steps import HomeFile, StepName
from pancode.fleet.ssh.target import Target
from pancode.nodes.node import NodeState, skew_ms
from pancode.nodes.place import Reach, changed
from pancode.skills.copies import STATE
from pancode.skills.request import SkillsAsked
from pancode.wiring.direct import Direct
from pancode.wiring.home import Home
from pancode.wiring.links import Links
from pancode.wiring.nodes import reach_to

log = logging.getLogger("pancode.bringup")
REACHED = "reached"
"""The key in a node's facts: a connection was made, and some of our files may be there."""
STATES: dict[StepState, ProgressState] = {
    StepState.RUNNING: "started",
    StepState.CHANGED: "done",
    StepState.SAME: "skipped",
    StepState.FINE: "done",
    StepState.FAILED: "failed",
}
_NONE: Mapping[str, str] = {}
HEARD_S = 60
LINK_S = 30


@dataclass(frozen=True, slots=True)
class FleetParts:
    """The parts that the fleet's use cases share."""

    core: Core
    home: Home
    clock: Clock
    ids: Ids
    fleet: str
    slots: int
    time_factor: float
    machines: Callable[[], tuple[str, ...]]
    """Addresses of model servers, for the node on this machine, as the files say it now."""
    user_home: Path
    direct: Direct
    log: str = ""
    """Levels of the node agents' logs: this coordinator's PANCODE_LOG."""

    def node(self, name: str, reach: Reach, labels: Mapping[str, str], slots: int | None) -> Node:
        """A machine for the inventory."""
        count = self.slots if slots is None else slots
        return Node(name, self.clock.wall_ms(), reach.data(), dict(labels), count)

    def this_machine(
        self, name: str, home: Path | None = None, slots: int | None = None, labels: Mapping[str, str] = _NONE
    ) -> Node:
        """The one that we run on, through our own SSH server. `home`: another HOME for it (demo)."""
        reach = reach_to(Target(name, "127.0.0.1", 0, ""), local=True, local_home=str(home) if home else None)
        return self.node(name, reach, {"local": "true", **labels}, slots)


def node_settings(parts: FleetParts, node: Node) -> dict[str, object]:
    """The content of its home's `node.json`. This machine's node looks at the owner's other machines, too."""
    tag = node.tag or ""
    settings: dict[str, object] = {
        "fleet": parts.fleet,
        "name": node.name,
        "tag": tag,
        "slots": node.slots,
        "redis": {"user": node_user(tag), "password_file": "key/redis.password"},
        "time_factor": parts.time_factor,
    }
    if parts.log:
        settings["log"] = parts.log
    looked_at = parts.machines() if Reach.of(node).local else ()
    return {**settings, "machines": list(looked_at)} if looked_at else settings


class BringUp:
    """One node at a time; several at once are several calls. Never raises for what is wrong with a node."""

    def __init__(self, parts: FleetParts, links: Links, bundles: BundleStore) -> None:
        self.parts = parts
        self.links = links
        self.bundles = bundles

    async def up(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        """Install, start and hear it; its link is kept from then on."""
        loop = asyncio.get_running_loop()
        began, report = loop.time(), _for_node(progress, node.name)
        report(StepReport(StepName.CONNECT, StepState.RUNNING, "connect"))

        async def work(remote: Remote) -> BroughtUp:
            await asyncio.to_thread(self.note_reached, node)
            out = await bring_up(remote, self._plan(node), report)
            if out.ok and Reach.of(node).fleet_key:
                await self._install_key(remote, out)
            return out

        try:
            out = await self._with_remote(node.name, agent_path, work)
        except PancodeError as error:
            report(StepReport(StepName.CONNECT, StepState.FAILED, str(error), loop.time() - began))
            return NodeResult(node.name, False, (problem_of(error, node.name),), (), loop.time() - began)
        problems = tuple({"what": p.what, "fix": p.fix, "weight": p.weight.value} for p in out.problems)
        again = Reach.of(node).installed_home is not None
        return NodeResult(node.name, out.ok, problems, tuple(out.changed), loop.time() - began, again)

    async def down(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        """End its node agent; attempts go on."""
        loop = asyncio.get_running_loop()
        began, home = loop.time(), Reach.of(node).node_home
        report = _for_node(progress, node.name)
        try:
            ended = await self._with_remote(
                node.name, agent_path, lambda remote: halt(remote, self.parts.fleet, report, home)
            )
        except PancodeError as error:
            return NodeResult(node.name, False, (problem_of(error, node.name),), (), loop.time() - began)
        return NodeResult(node.name, True, (), ("stopped",) if ended else (), loop.time() - began)

    def note_reached(self, node: Node) -> None:
        """Record that some of our files may be on the machine from now on."""
        if not node.facts.get(REACHED):
            inventory.change(
                self.parts.core, node.name, lambda row: replace(row, facts={**row.facts, REACHED: True})
            )

    async def remove(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        """Take out all that we brought and prove it; one that is away keeps its link, to be cleaned later.

        One where we never were is forgotten: nothing of ours is there.
        """
        loop = asyncio.get_running_loop()
        began, reach = loop.time(), Reach.of(node)
        if reach.is_twin:
            return await self._forgotten(node, began)
        try:
            await self.links.leave(node.name)
            session = await self.links.dial(node.name, agent_path)
            try:
                report, remote = _for_node(progress, node.name), Remote(session)
                if node.tag is None and await self._is_anothers(remote, node):
                    return await self._forgotten(node, began)
                skills = await self._skills_left(remote, node)
                removed = await take_out(remote, self.parts.fleet, report, reach.node_home)
            finally:
                await session.close()
        except Exception as error:
            if node.tag is None and not node.facts.get(REACHED):
                return await self._forgotten(node, began, "never_reached")
            if reach.installed_home is not None:
                await self.links.keep(node.name)
            problem = {**problem_of(error, node.name), "fix": before_it_is_cleaned(error)}
            return NodeResult(node.name, False, (problem,), (), loop.time() - began)
        if removed.left or skills:
            left = {
                "what": f"left there: {', '.join((*removed.left, *skills))}",
                "fix": f"pancode node rm {node.name}",
            }
            return NodeResult(node.name, False, (left,), (), loop.time() - began)
        await asyncio.to_thread(self._forget, node)
        changed = ("removed", *removed.owners) if removed.changed else ()
        return NodeResult(node.name, True, (), changed, loop.time() - began)

    async def _forgotten(self, node: Node, began: float, how: str = "forgotten") -> NodeResult:
        """Forgets the node; its files belong to the same machine under its other name, or there are none."""
        await asyncio.to_thread(self._forget, node)
        seconds = asyncio.get_running_loop().time() - began
        return NodeResult(node.name, True, (), (how,), seconds)

    async def _skills_left(self, remote: Remote, node: Node) -> tuple[str, ...]:
        """Take the fleet's copies of skills away, while its agent's Python is there; what stays, and why.

        A copy that a person has changed is that person's, and none of ours.
        """
        if (await remote.run(("test", "-d", STATE), LINK_S)).status != 0:
            return ()
        asked = SkillsAsked("remove", owner=self.parts.fleet)
        try:
            answer = await act_on(remote, node.name, Reach.of(node).installed_home or "", asked)
        except PancodeError as error:
            return (f"copies of skills ({error.words})",)
        return tuple(f"{one['folder']}/{one['skill']}" for one in answer["rows"] if one["state"] == "failed")

    async def _is_anothers(self, remote: Remote, node: Node) -> bool:
        """Whether the home there is another node's: one that was never brought up knows of no twin."""
        found = await probe(remote, self.parts.fleet, Reach.of(node).node_home)
        done = await remote.run(("cat", f"{found.node_home}/node.json"), LINK_S)
        try:
            tag = str(json.loads(done.text)["tag"])
        except (ValueError, KeyError, TypeError):
            return False
        return await asyncio.to_thread(self._has_other, node.name, tag)

    def _has_other(self, name: str, tag: str) -> bool:
        with self.parts.core.ports.ledger.transaction() as tx:
            others = tx.find(Node, {"tag": tag})
        return any(one.name != name and one.removed != NodeState.REMOVED for one in others)

    async def cleaned(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        """As `remove`, when another tool has removed everything and proven it: the link ends, and the node is
        forgotten."""
        await self.links.leave(node.name)
        await asyncio.to_thread(self._forget, node)
        return NodeResult(node.name, True, (), ("removed",))

    def admit(self, tag: str) -> str:
        """Let the node into Redis as its own user; returns its password. RefusedError in quarantine."""
        password = self.parts.home.node_password(tag, self.parts.ids)
        quota.let_in(self.parts.core, tag, password)
        return password

    # -- inside ----------------------------------------------------------------------------------

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

    def _plan(self, node: Node) -> BringUpPlan:
        return BringUpPlan(
            fleet=self.parts.fleet,
            store=self.bundles,
            files=lambda key, found: asyncio.to_thread(self.enrol, node.name, key, found),
            link=lambda found: self._link(node.name, found),
            heartbeat=lambda fresh: self._await_echo(node.name, fresh),
            wall_ms=self.parts.clock.wall_ms,
            node_home=Reach.of(node).node_home,
        )

    def enrol(self, name: str, key: str, found: NodeProbe) -> list[HomeFile]:
        """Believe the node's key, let it into Redis, and say what its home is to hold."""
        asked = found.wall_ms is not None and any(found.asked_ms)
        skew = skew_ms(found.wall_ms, *found.asked_ms) if asked and found.wall_ms is not None else None

        def settle(row: Node) -> Node:
            home, uid = found.node_home, found.uid
            row = changed(row, installed_home=home, uid=uid, halted=False)
            return replace(row, facts={**row.facts, "clock_skew_ms": skew})

        node = self._believe(name, key)
        inventory.change(self.parts.core, name, settle)
        inventory.put_halted(self.parts.core, name, False)
        self.admit(node.tag or "")
        return self.home_files(node)

    def home_files(self, node: Node) -> list[HomeFile]:
        """The files of the home of a node whose key the fleet believes."""
        password = self.parts.home.node_password(node.tag or "", self.parts.ids)
        settings = node_settings(self.parts, node)
        obeyed = keyring.believed_by(self.parts.core, node)
        return [
            HomeFile("key/coordinator.pub", "".join(f"{key.text()}\n" for key in obeyed).encode()),
            HomeFile("key/redis.password", f"{password}\n".encode()),
            HomeFile("node.json", (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()),
        ]

    def _believe(self, name: str, key: str) -> Node:
        """Enrol the key; ConflictError, remembered, when the machine is in the fleet under another name."""
        try:
            return inventory.enrol(self.parts.core, name, key)
        except ConflictError as twin:
            if twin.code == "same_machine":
                inventory.change(self.parts.core, name, partial(changed, is_twin=True))
            raise

    async def _install_key(self, remote: Remote, out: BroughtUp) -> None:
        """The fleet key, for links that must come back while nobody is there."""
        if out.probe is None:
            return
        private = asyncssh.import_private_key(self.parts.home.fleet_key())
        public = private.export_public_key("openssh").decode()
        line = authorized_line(" ".join(public.split()[:2]), self.parts.fleet)
        await perform(remote, steps.install_key_step(line, marker(self.parts.fleet)))

    async def _link(self, name: str, found: NodeProbe) -> bool:
        link = await self.links.keep(name, found)
        link.poke()  # what it waited for may be mended by now
        state = await link.settled(LINK_S)
        if not state.up:
            fix = state.error.fix_at(name) if state.error is not None else ""
            raise UnavailableError(f"the link to {name} does not come up", why=state.why, fix=fix)
        before = state.generation
        try:
            return await self.links.mend(name)
        except ConnectError as error:
            if error.fault is LinkFault.NOT_DIRECT and before is not None and before.by is None:
                await asyncio.to_thread(self._keep_tunnel, name)
                error.why += "; it stays with its tunnel"
            raise

    def _keep_tunnel(self, name: str) -> None:
        """Keeps the tunnel of a node whose direct way is closed."""
        inventory.change(self.parts.core, name, partial(changed, direct=False))

    async def _await_echo(self, name: str, fresh: bool) -> None:
        """Wait until the node agent of this version has echoed a beat (`fresh`: sent after now)."""
        core = self.parts.core
        after = core.now().ms if fresh else core.now().ms - core.rules.deadlines.ask_ms
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HEARD_S
        while loop.time() < deadline:
            if await asyncio.to_thread(self._has_echoed, name, after):
                return
            await asyncio.sleep(0.1)
        why = f"the node agent was started; its log is in the node's home, log/agent.out on {name}"
        raise UnavailableError(f"no heartbeat came within {HEARD_S} s", why=why)

    def _has_echoed(self, name: str, after_ms: int) -> bool:
        view = inventory.view(self.parts.core, name)
        if view.state in (NodeState.NEW, NodeState.SUSPECT) or view.last is None:
            return False
        beat = view.last.heartbeat
        return beat.version == __version__ and beat.echo is not None and beat.echo.ms >= after_ms

    def _forget(self, node: Node) -> None:
        inventory.forget(self.parts.core, node.name)
        self.parts.home.forget_node(node.name, node.tag)


def _for_node(progress: Progress, name: str) -> Callable[[StepReport], None]:
    def say(step: StepReport) -> None:
        progress(ProgressLine(name, step.name.value, STATES[step.state], step.says, step.seconds))

    return say


def before_it_is_cleaned(error: Exception) -> str:
    """What a person has to do first; nothing where the machine is only away."""
    if isinstance(error, ConnectError) and error.permanent:
        return f"{error.fix}; then it is cleaned by itself"
    return "nothing: it is cleaned when it is back"


def problem_of(error: Exception, node: str) -> dict[str, str]:
    """The problem as `fleet up` shows it; `node`: its name, for the fix. An unexpected error is logged
    whole."""
    if not isinstance(error, PancodeError):
        log.error("a node's own failure", exc_info=error)
        what = f"{type(error).__name__}: {error}"
        return {"what": what, "fix": "an error of PanCode itself: see run/coordinator.log", "weight": "stop"}
    what = f"{error}: {error.why}" if error.why else str(error)
    fix = error.fix_at(node) if isinstance(error, ConnectError) else error.fix
    return {"what": what, "fix": fix, "weight": "stop"}
