"""Brings one node up over SSH, step by step; stops its node agent; or removes all of PanCode from it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import asyncssh

from node_agent.wire.keep import KEEP, NodeKeep
from pancode import __version__
from pancode.fleet import inventory
from pancode.fleet.acts import NodeResult, Progress, ProgressLine, ProgressState
from pancode.fleet.bundle.archive import Bundle
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.place import Reach, change_reach
from pancode.fleet.ssh import steps
from pancode.fleet.ssh.errors import ConnectError
from pancode.fleet.ssh.home import Home
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.links import Links
from pancode.fleet.ssh.probe import NodeProbe, Python, probe_node
from pancode.fleet.ssh.readiness import NotReady, Weight, find_unready, list_platforms, select_blocking
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.step_runner import StepDone, run_step
from pancode.fleet.ssh.steps import BringUpStep, HomeFile, NodeLocation, Put, RemoteScript, StepName
from pancode.kernel.errors import ConflictError, PancodeError, UnavailableError
from pancode.kernel.node import NodeState, skew_ms
from pancode.kernel.records import Node
from pancode.queue.valkey.layout import node_user
from pancode.runs import keyring
from pancode.runs.core import Core
from pancode.runs.nodes import quota

OPTIONS = "restrict,port-forwarding"
"""Options of the fleet's SSH key: no terminal, agent, X11 or user rc, only commands and forwarded sockets."""


def format_marker(fleet: str) -> str:
    """Return the comment that marks the fleet's line in `authorized_keys`."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", fleet):
        raise ValueError(f"not a fleet id: {fleet!r}")
    return f"pancode fleet {fleet}"


def authorized_line(public: str, fleet: str) -> str:
    """Return the complete line for `public` (`ssh-ed25519 AAAA...`); ValueError if it is not a key."""
    return f"{OPTIONS} {HostKey.parse(public).line} {format_marker(fleet)}"


log = logging.getLogger("pancode.bringup")
REACHED = "reached"
"""The key in a node's facts that records that we connected, so our files may be on the node."""
T = TypeVar("T")
HEARD_S, HANGS_S = 60, 30
"""How many seconds a node agent has, after the start or when found running, to show that it works."""
LINK_S = 30
CleanNode: TypeAlias = Callable[[str, Remote, Node], Awaitable[Sequence[str]]]
"""Removes from a node what a feature has installed there for the fleet with this id, while the node's Python
is still there; returns what remains, and why."""


@dataclass(frozen=True, slots=True)
class NodeDefaults:
    """The owner's settings for every node. `machines`: addresses of model servers for the node on this
    machine, as currently configured. `log`: the node agents' log levels."""

    slots: int
    time_factor: float
    machines: Callable[[], tuple[str, ...]]
    user_home: Path
    log: str = ""
    least: int | None = None
    """The number of slots to which a node reduces itself under load; None: it always uses all."""
    keep: NodeKeep = KEEP


def node_settings(defaults: NodeDefaults, fleet: str, node: Node, path: str = "") -> dict[str, object]:
    """Return the content of `node.json`; for the node on this machine, it includes the addresses of model
    servers. `path`: the PATH of agents, as the node's owner has set it in that file."""
    tag = node.tag or ""
    settings: dict[str, object] = {
        "fleet": fleet,
        "name": node.name,
        "tag": tag,
        "slots": node.slots,
        "redis": {"user": node_user(tag), "password_file": "key/redis.password"},
        "time_factor": defaults.time_factor,
    }
    if defaults.log:
        settings["log"] = defaults.log
    if defaults.keep != KEEP:
        settings["keep"] = defaults.keep.model_dump(mode="json")
    if path:
        settings["path"] = path
    looked_at = defaults.machines() if Reach.of(node).local else ()
    return {**settings, "machines": list(looked_at)} if looked_at else settings


class BringUp:
    """Brings nodes up and down, one node per call. Problems of a node are returned, never raised."""

    def __init__(
        self,
        core: Core,
        settings: NodeDefaults,
        home: Home,
        links: Links,
        bundles: BundleStore,
        clean: Sequence[CleanNode] = (),
    ) -> None:
        self._clean = clean
        self.core, self.settings, self.home = core, settings, home
        self.links, self.bundles = links, bundles

    async def up(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        """Install and start the node agent, and wait for its heartbeat; keep its link from then on."""
        reach = Reach.of(node)
        connecting = _Steps(node.name, progress)
        connecting.begin(StepName.CONNECT, "connect")

        async def work(remote: Remote) -> NodeResult:
            await asyncio.to_thread(self.note_reached, node)
            out = await bring_up(remote, self._plan(node), progress)
            if out.ok and reach.fleet_key:
                await run_step(remote, self.key_step())
            return out

        try:
            out = await self.with_remote(node.name, agent_path, work)
        except PancodeError as error:
            connecting.end("failed", str(error))
            out = NodeResult(node.name, False, (problem_of(error, node.name),))
        return replace(out, again=reach.installed_home is not None)

    async def down(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        """Stop the node agent; its attempts continue."""

        async def work(remote: Remote) -> NodeResult:
            ended = await stop_agent(remote, self._plan(node), progress)
            return NodeResult(node.name, True, (), ("stopped",) if ended else ())

        try:
            return await self.with_remote(node.name, agent_path, work)
        except PancodeError as error:
            return NodeResult(node.name, False, (problem_of(error, node.name),))

    def note_reached(self, node: Node) -> None:
        """Record that some of PanCode's files may be on the node from now on."""
        if not node.facts.get(REACHED):
            inventory.change(
                self.core, node.name, lambda row: replace(row, facts={**row.facts, REACHED: True})
            )

    async def remove(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        """Remove everything of the fleet from the node and verify that; an unreachable node keeps its link,
        for later. A node that was never reached is forgotten, since nothing of the fleet is on it."""
        reach = Reach.of(node)
        if reach.is_twin:
            return await self._forget_node(node)
        try:
            await self.links.leave(node.name)
            session = await self.links.dial(node.name, agent_path)
            try:
                remote = Remote(session)
                if node.tag is None and await self._is_anothers(remote, node):
                    return await self._forget_node(node)
                left = [one for clean in self._clean for one in await clean(self.core.fleet, remote, node)]
                removed = await take_out(remote, self._plan(node), progress, left)
            finally:
                await session.close()
        except Exception as error:
            if node.tag is None and not node.facts.get(REACHED):
                return await self._forget_node(node, "never_reached")
            if reach.installed_home is not None:
                await self.links.keep(node.name)
            problem = {**problem_of(error, node.name), "fix": before_it_is_cleaned(error)}
            return NodeResult(node.name, False, (problem,))
        if removed.ok:
            await asyncio.to_thread(self._forget, node)
        return removed

    async def _forget_node(self, node: Node, how: str = "forgotten") -> NodeResult:
        """Forget a node that has no files, or whose files belong to another node on the same computer."""
        await asyncio.to_thread(self._forget, node)
        return NodeResult(node.name, True, (), (how,))

    async def _is_anothers(self, remote: Remote, node: Node) -> bool:
        """Whether the node home found there belongs to another node of the fleet."""
        found = await probe_node(remote, self.core.fleet, Reach.of(node).node_home)
        done = await remote.run(("cat", f"{found.node_home}/node.json"), LINK_S)
        try:
            tag = str(json.loads(done.text)["tag"])
        except (ValueError, KeyError, TypeError):
            return False
        return await asyncio.to_thread(self._has_other, node.name, tag)

    def _has_other(self, name: str, tag: str) -> bool:
        with self.core.ports.ledger.transaction() as tx:
            others = tx.find(Node, {"tag": tag})
        return any(one.name != name and one.removed != NodeState.REMOVED for one in others)

    async def cleaned(self, node: Node) -> NodeResult:
        """Forget a node that another tool has cleaned, and end its link; for other nodes as `remove`."""
        await self.links.leave(node.name)
        return await self._forget_node(node, "removed")

    def admit(self, tag: str) -> str:
        """Allow the node into Redis as its own user; return its password. RefusedError in quarantine."""
        password = self.home.node_password(tag, self.core.ports.ids)
        quota.let_in(self.core, tag, password)
        return password

    # -- internals -------------------------------------------------------------------------------

    async def with_remote(
        self, name: str, agent_path: str | None, work: Callable[[Remote], Coroutine[Any, Any, T]]
    ) -> T:
        """Run the work over the live link, or else over a connection for this call only."""
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
            node=node.name,
            fleet=self.core.fleet,
            store=self.bundles,
            files=lambda key, found: asyncio.to_thread(self.enrol, node.name, key, found),
            link=lambda found: self._link(node.name, found),
            heartbeat=lambda fresh: self._await_echo(node.name, fresh),
            wall_ms=self.core.wall_ms,
            check=lambda found: asyncio.to_thread(self._must_be_its_own, node.name, found),
            node_home=Reach.of(node).node_home,
        )

    def enrol(self, name: str, key: str, found: NodeProbe) -> list[HomeFile]:
        """Trust the node's key, allow the node into Redis, and return the files for its home."""
        has_clock = found.wall_ms is not None and any(found.asked_ms)
        skew = skew_ms(found.wall_ms, *found.asked_ms) if has_clock and found.wall_ms is not None else None

        def settle(row: Node) -> Node:
            home, uid = found.node_home, found.uid
            row = change_reach(row, installed_home=home, uid=uid, halted=False, is_twin=False)
            return replace(row, facts={**row.facts, "clock_skew_ms": skew})

        with self._twin_remembered(name):
            node = inventory.enrol(self.core, name, key)
        inventory.change(self.core, name, settle)
        inventory.put_halted(self.core, name, False)
        self.admit(node.tag or "")
        return self.home_files(node, found.path)

    def home_files(self, node: Node, path: str) -> list[HomeFile]:
        """Return the files of the home of a node whose key the fleet trusts."""
        password = self.home.node_password(node.tag or "", self.core.ports.ids)
        settings = node_settings(self.settings, self.core.fleet, node, path)
        obeyed = keyring.believed_by(self.core, node)
        return [
            HomeFile("key/coordinator.pub", "".join(f"{key.text()}\n" for key in obeyed).encode()),
            HomeFile("key/redis.password", f"{password}\n".encode()),
            HomeFile("node.json", (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()),
        ]

    def _must_be_its_own(self, name: str, found: NodeProbe) -> None:
        """Raise ConflictError, and record it, if the node home found there belongs to another node."""
        if found.named and found.named != name:
            with self._twin_remembered(name):
                inventory.refuse_home_of(self.core, name, found.named, found.node_home)

    @contextmanager
    def _twin_remembered(self, name: str) -> Iterator[None]:
        """On ConflictError mark the computer as another node's, until a bring-up finds a separate home."""
        try:
            yield
        except ConflictError:
            inventory.change(self.core, name, partial(change_reach, is_twin=True))
            raise

    def key_step(self) -> BringUpStep:
        """Return the step that installs the fleet's key, so that links can reconnect while no user is
        present."""
        private = asyncssh.import_private_key(self.home.fleet_key())
        public = private.export_public_key("openssh").decode()
        line = authorized_line(" ".join(public.split()[:2]), self.core.fleet)
        return steps.install_key_step(line, format_marker(self.core.fleet))

    async def _link(self, name: str, found: NodeProbe) -> bool:
        link = await self.links.keep(name, found)
        link.poke()  # the problem that the link waited for may be fixed by now
        state = await link.settled(LINK_S)
        if not state.up:
            fix = state.error.fix_at(name) if state.error is not None else ""
            raise UnavailableError(f"the link to {name} could not be established", why=state.why, fix=fix)
        return await self.links.repair(name)

    async def _await_echo(self, name: str, fresh: bool) -> None:
        """Wait until a node agent of this version has echoed a heartbeat (`fresh`: one sent from now on)."""
        core = self.core
        after = core.now().ms if fresh else core.now().ms - core.rules.deadlines.ask_ms
        loop = asyncio.get_running_loop()
        limit_s = HEARD_S if fresh else HANGS_S
        deadline = loop.time() + limit_s
        while loop.time() < deadline:
            if await asyncio.to_thread(self._has_echoed, name, after):
                return
            await asyncio.sleep(0.1)
        why = f"the node agent was started; its log on {name} is log/agent.out in the node home"
        raise UnavailableError(f"no heartbeat was received within {limit_s} s", why=why)

    def _has_echoed(self, name: str, after_ms: int) -> bool:
        view = inventory.get_view(self.core, name)
        if view.node.removed is not None:  # its heartbeats are not accepted any more
            raise UnavailableError(f"{name} was removed during its bring-up")
        if view.state in (NodeState.NEW, NodeState.SUSPECT) or view.last is None:
            return False
        heard = view.last.heartbeat
        return heard.version == __version__ and heard.echo is not None and heard.echo.ms >= after_ms

    def _forget(self, node: Node) -> None:
        inventory.forget(self.core, node.name)
        self.home.forget_node(node.name, node.tag)


def before_it_is_cleaned(error: Exception) -> str:
    """Return what a user must do before the node can be cleaned; "nothing" if it is only unreachable."""
    if isinstance(error, ConnectError) and error.permanent:
        return f"{error.fix}; then it is cleaned automatically"
    return "nothing: it is cleaned when it is reachable again"


def problem_of(error: Exception, node: str) -> dict[str, str]:
    """Return the problem as `fleet up` shows it. `node`: for the fix. Unexpected errors are logged."""
    if not isinstance(error, PancodeError):
        log.error("an error on the node", exc_info=error)
        what = f"{type(error).__name__}: {error}"
        return {
            "what": what,
            "fix": "an internal error of PanCode: see run/coordinator.log",
            "weight": "stop",
        }
    what = f"{error}: {error.why}" if error.why else str(error)
    fix = error.fix_at(node) if isinstance(error, ConnectError) else error.fix
    return {"what": what, "fix": fix, "weight": "stop"}


@dataclass(frozen=True, slots=True)
class BringUpPlan:
    """The target state of a node. The callables are the coordinator's.

    `files(public key, probe)` enrolls the node's key and returns the home's files. `link()` opens the
    tunnels, and returns whether the node had lost its former tunnels. `heartbeat(fresh)` returns when a
    heartbeat of the node agent arrives (`fresh`: of the one started now), or raises PancodeError:
    UnavailableError if no heartbeat arrives.
    """

    node: str
    """The node's name."""
    fleet: str
    store: BundleStore
    files: Callable[[str, NodeProbe], Awaitable[Sequence[HomeFile]]]
    link: Callable[[NodeProbe], Awaitable[bool]]
    heartbeat: Callable[[bool], Awaitable[None]]
    wall_ms: Callable[[], int]
    node_home: str | None = None
    check: Callable[[NodeProbe], Awaitable[None]] | None = None
    """Called before anything is changed; ConflictError if the node home there belongs to another node."""


@dataclass
class _Steps:
    """The steps of one operation on a node, reported to `progress` as they begin and end."""

    node: str
    progress: Progress
    name: StepName = StepName.CONNECT
    says: str = ""
    began: float = 0.0
    changed: list[str] = field(default_factory=list)

    def begin(self, name: StepName, says: str) -> None:
        self.name, self.says, self.began = name, says, asyncio.get_running_loop().time()
        self.progress(ProgressLine(self.node, name.value, "started", says))

    def end(self, state: ProgressState, says: str = "") -> None:
        seconds = asyncio.get_running_loop().time() - self.began
        self.progress(ProgressLine(self.node, self.name.value, state, says or self.says, seconds))

    def done(self, changed: bool, state: ProgressState = "done") -> None:
        """End the step. `state`: the state to report if nothing was changed."""
        if changed:
            self.changed.append(self.name.value)
        self.end("done" if changed else state)

    async def act(self, remote: Remote, step: BringUpStep) -> StepDone:
        self.begin(step.name, step.says)
        done = await run_step(remote, step)
        compared = step.there or any(isinstance(act, Put | RemoteScript) for act in step.acts)
        self.done(done.changed, "skipped" if compared else "done")
        return done

    async def wait(self, name: StepName, says: str, what: Awaitable[bool | None]) -> None:
        """Wait for what this step needs; if the awaitable returns True, something had to be repaired."""
        self.begin(name, says)
        self.done(bool(await what))

    async def start(
        self,
        remote: Remote,
        starting: Callable[[bool], BringUpStep],
        heartbeat: Callable[[bool], Awaitable[None]],
    ) -> None:
        """Start the node agent; restart it if an earlier step requires that or it sends no heartbeats."""
        await self.act(remote, starting(bool(steps.RESTARTING & set(self.changed))))
        if StepName.START not in self.changed:
            try:
                await self.wait(StepName.HEARTBEAT, "receive the node agent's heartbeat", heartbeat(False))
            except UnavailableError:  # the node agent hangs; its attempts continue without it
                self.end("done", "the node agent runs but sends no heartbeat")
                await self.act(remote, starting(True))
        if StepName.START in self.changed:
            await self.wait(StepName.HEARTBEAT, "receive the node agent's heartbeat", heartbeat(True))


class _Stopped(Exception):
    """The node does not meet the requirements; `problems` has the reasons."""


async def bring_up(remote: Remote, plan: BringUpPlan, progress: Progress) -> NodeResult:
    """Take all steps over one connection. Problems of the node are in the result, never raised."""
    run = _Steps(plan.node, progress)
    known: tuple[NotReady, ...] = ()
    try:
        run.begin(StepName.PROBE, "examine the node")
        before = plan.wall_ms()
        probed = await probe_node(remote, plan.fleet, plan.node_home)
        found = replace(probed, asked_ms=(before, plan.wall_ms()))
        known = find_unready(found, found.asked_ms[1])
        if select_blocking(known):
            raise _Stopped(select_blocking(known)[0].what)
        if plan.check is not None:
            await plan.check(found)
        run.done(False)
        run.begin(StepName.BUNDLE, "make the node bundle")
        bundle, python = await asyncio.to_thread(bundle_for, plan.store, found)
        place = NodeLocation.of(plan.fleet, found)
        made = [await run.act(remote, step) for step in steps.first_steps(place, found, bundle, python)]
        key = made[-1].output.decode("ascii", "replace").strip()
        for step in steps.enrolled_steps(place, found, python.path, await plan.files(key, found)):
            await run.act(remote, step)
        await run.wait(StepName.CONNECT, "tunnels", plan.link(found))
        await run.start(remote, partial(steps.start_step, place, found, python.path), plan.heartbeat)
        ok = True
    except (_Stopped, PancodeError, ValueError) as error:
        run.end("failed", str(error))
        ok, known = False, _add_problem(known, run.name, error)
    shown = tuple({"what": p.what, "fix": p.fix, "weight": p.weight.value} for p in known)
    return NodeResult(plan.node, ok, shown, tuple(run.changed))


def bundle_for(store: BundleStore, found: NodeProbe) -> tuple[Bundle, Python]:
    """Return the bundle for this node, made now if it is missing, and the Python that will run it."""
    fit = list_platforms(found)
    platform, bundle = store.bundle_for([p for _, p in fit])
    return bundle, next(python for python, p in fit if p == platform)


def _add_problem(known: tuple[NotReady, ...], name: StepName, error: Exception) -> tuple[NotReady, ...]:
    if isinstance(error, _Stopped):
        return known
    why, fix = getattr(error, "why", ""), getattr(error, "fix", "")
    what = f"{error}: {why}" if why else str(error)
    return (NotReady(name, what, fix, Weight.STOP), *known)


async def stop_agent(remote: Remote, plan: BringUpPlan, progress: Progress) -> bool:
    """Stop only the node agent, not its runs; return whether it was running. SshError if it does not end."""
    place = NodeLocation.of(plan.fleet, await probe_node(remote, plan.fleet, plan.node_home))
    return (await _Steps(plan.node, progress).act(remote, steps.stop_step(place))).changed


async def take_out(
    remote: Remote, plan: BringUpPlan, progress: Progress, stays: Sequence[str] = ()
) -> NodeResult:
    """Remove everything of this fleet from the node and verify that; the problem names what is left there.

    `stays`: what is already known to remain.

    `changed` in the result also names files that the node's owner had written into the node home, which are
    removed with it. SshError if a step fails; repeatable.
    """
    run = _Steps(plan.node, progress)
    place = NodeLocation.of(plan.fleet, await probe_node(remote, plan.fleet, plan.node_home))
    done = [await run.act(remote, step) for step in steps.remove_steps(place, format_marker(plan.fleet))]
    if left := (*done[-1].values("left"), *stays):
        problem = {"what": f"left there: {', '.join(left)}", "fix": f"pancode node rm {plan.node}"}
        return NodeResult(plan.node, False, (problem,))
    owners = [path for one in done for path in one.values("owners")]
    changed = ("removed", *owners) if any(one.changed for one in done) else ()
    return NodeResult(plan.node, True, (), changed)
