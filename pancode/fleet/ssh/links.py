"""Keeps a link to every enrolled node: connects, monitors, starts a node agent that is down."""

from __future__ import annotations

import asyncio
import getpass
import itertools
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pancode.fleet.place import Reach
from pancode.fleet.seat import SeatKeeper
from pancode.fleet.ssh import steps
from pancode.fleet.ssh.connection import Session, SshTiming, open_session
from pancode.fleet.ssh.errors import LOGINS, ConnectError, LinkFault
from pancode.fleet.ssh.home import Home
from pancode.fleet.ssh.link import Backoff, Link, LinkKind, LinkState
from pancode.fleet.ssh.login_session import LoginSession
from pancode.fleet.ssh.loopback.server import LoopbackNode, LoopbackServer, environ_here
from pancode.fleet.ssh.probe import NodeProbe, probe_node
from pancode.fleet.ssh.reach import login_for, pins_of, reach_to, target_of
from pancode.fleet.ssh.readiness import list_pythons
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.seat_claims import must_hold_seat
from pancode.fleet.ssh.step_runner import run_step
from pancode.fleet.ssh.steps import NodeLocation
from pancode.fleet.ssh.target import AGENT, with_agent
from pancode.fleet.ssh.tunnel import TunnelTargets, choose_folders
from pancode.kernel.errors import PancodeError
from pancode.kernel.records import Node


async def find_tunnel_program(remote: Remote, fleet: str, node_home: str | None) -> tuple[str, ...]:
    """Return the command of the node's end of a tunnel in one SSH session. Raises ConnectError."""
    found = await probe_node(remote, fleet, node_home)
    fit = list_pythons(found)
    if not found.current or not fit:
        raise ConnectError(
            LinkFault.FORWARDING_REFUSED,
            "the node's SSH server forbids forwarding, and no node agent is installed that can do without",
            fix="pancode fleet up NODE",
        )
    return NodeLocation.of(fleet, found).tunnel_command(fit[0].path)


TEND_S = 60.0
SEAT_TURNS = 10
"""Every how many checks of a link its claim is read too."""
log = logging.getLogger("pancode.links")


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What all links share. `node_of`: reads the node from the ledger on each call."""

    fleet: str
    home: Home
    user_home: Path
    ends: TunnelTargets
    timing: SshTiming
    backoff: Backoff
    node_of: Callable[[str], Node | None]
    tend_s: float = TEND_S
    session: LoginSession = field(default_factory=LoginSession)
    """The variables of the newest caller."""
    seat: SeatKeeper | None = None
    """This coordinator's seat, checked at each new connection and every ten minutes; None: not checked."""


@dataclass(frozen=True, slots=True)
class LinkNews:
    """An update on a link. `broken`: it ended unexpectedly; `trying`: it is being retried automatically.
    `why` and `fix` are empty if they do not concern a user. `changed_key`: the host presents another key."""

    up: bool
    broken: bool
    trying: bool
    why: str = ""
    fix: str = ""
    changed_key: str = ""


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """Callbacks for links. `contact` and `silent` are called in a thread; `state` must not block."""

    contact: Callable[[str], None]
    """Called when a link comes up, and every `tend_s` while it is up."""
    silent: Callable[[str], bool]
    """Whether the node sends no heartbeats although it should."""
    state: Callable[[str, LinkNews], None]


class Links:
    """All links of one coordinator. Every method belongs to the event loop's thread."""

    def __init__(self, settings: LinkSettings) -> None:
        self.settings = settings
        self._links: dict[str, Link] = {}
        self._servers: dict[str, LoopbackServer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.events = LinkEvents(lambda _: None, lambda _: False, lambda _name, _news: None)

    # -- connections -----------------------------------------------------------------------------

    async def reach(self, name: str) -> Reach:
        """Return the node's current address; for a node on this machine, start PanCode's SSH server."""
        node = self.settings.node_of(name)
        if node is None:
            raise PancodeError(f"node {name} is not in the ledger")
        reach = Reach.of(node)
        if not reach.local:
            return reach
        server = await self._ensure_server(name, reach)
        fresh = reach_to(server.target, {server.target.endpoint: server.host_key})
        return replace(reach, target=fresh.target, pins=fresh.pins)

    async def _ensure_server(self, name: str, reach: Reach) -> LoopbackServer:
        environ = environ_here(os.environ, sys.prefix, sys.base_prefix)
        if name not in self._servers:
            keys = self.settings.home.loopback_keys(name)
            home = Path(reach.local_home) if reach.local_home else self.settings.user_home
            server = LoopbackServer(LoopbackNode(name, getpass.getuser(), home, keys, environ))
            await server.start()
            self._servers[name] = server
        self._servers[name].use(environ)
        return self._servers[name]

    async def dial(self, name: str, agent_path: str | None = None, *, looks: bool = False) -> Session:
        """Open a new connection to the node, or raise ConnectError; `agent_path`: the caller's SSH agent.
        Raises HeldError or FencedError while this coordinator does not lead its fleet, except if it only
        `looks`."""
        if not looks and self.settings.seat is not None and self.settings.seat.held is not None:
            raise self.settings.seat.held
        reach = await self.reach(name)
        server = self._servers.get(name)
        own = (server.node.keys.client,) if server is not None else ()
        if reach.fleet_key:
            own = (*own, self.settings.home.fleet_key())
        target, environ = with_agent(target_of(reach), agent_path), self.settings.session.environ()
        environ |= {AGENT: agent_path} if agent_path else {}
        login = login_for(reach, own, self.settings.user_home, environ)
        try:
            session = await open_session(target, pins_of(reach), login, self.settings.timing)
        except ConnectError as error:
            error.why = self.settings.session.date(error.why)
            raise
        try:
            if not looks:
                await self._check_seat(Remote(session), reach)
        except BaseException:
            await asyncio.shield(session.close())
            raise
        return session

    async def _check_seat(self, remote: Remote, reach: Reach) -> None:
        """Raise ConnectError if another coordinator's claim excludes this one. Other errors are logged: a
        claim that cannot be read proves nothing."""
        if self.settings.seat is None or reach.installed_home is None:
            return
        try:
            await must_hold_seat(remote, reach.installed_home, self.settings.seat)
        except PancodeError as error:
            if isinstance(error, ConnectError) and error.permanent:
                raise
            log.warning("the claim in %s was not checked: %s", reach.installed_home, error.words)

    # -- links -----------------------------------------------------------------------------------

    async def keep(self, name: str, found: NodeProbe | None = None) -> Link:
        """Keep a link to the node from now on. `found`: a bring-up's probe, which knows the node's home."""
        if name not in self._links:
            reach = await self.reach(name)
            home = found.node_home if found else reach.installed_home
            uid = found.uid if found else reach.uid
            if home is None or uid is None:
                raise PancodeError(f"node {name} has never been started", fix=f"pancode fleet up {name}")
            self._links[name] = Link(
                name,
                lambda: self.dial(name),
                choose_folders(home, uid),
                replace(
                    self.settings.ends,
                    near=reach.local,
                    program=lambda remote: find_tunnel_program(remote, self.settings.fleet, reach.node_home),
                ),
                lambda state: self._handle_change(name, state),
                self.settings.backoff,
            )
        self._links[name].start()
        return self._links[name]

    async def tend(self) -> None:
        """Each minute, for every link that is up: check tunnels, allow the node into Redis, start a node
        agent that is down. A service manager on the node restarts the agent sooner. Ends when cancelled."""
        for turn in itertools.count(1):
            await asyncio.sleep(self.settings.tend_s)
            self.settings.session.environ()  # note which SSH agents exist
            up = [name for name, link in self._links.items() if link.state.up]
            tended = (self._tend_link(name, turn % SEAT_TURNS == 0) for name in up)
            errors = await asyncio.gather(*tended, return_exceptions=True)
            for name, error in zip(up, errors, strict=True):
                if isinstance(error, PancodeError):
                    log.warning("link %s: the node could not be checked: %s", name, error)
                elif isinstance(error, Exception):
                    log.error("checking a link failed", exc_info=error)

    async def _tend_link(self, name: str, checks_seat: bool) -> None:
        remote = self.remote(name) if checks_seat else None
        try:
            if remote is not None:
                await self._check_seat(remote, await self.reach(name))
        except ConnectError as exc:
            log.error("link %s: %s", name, exc.words)
            if remote is not None:
                await asyncio.shield(remote.session.close())  # the next dial finds the same claim, and stops
            return
        try:
            if await self.repair(name):
                return  # the reopened link counts as a new link, so the node is checked again
        except PancodeError as exc:
            log.warning("link %s: the tunnels could not be checked: %s", name, exc)
            return
        if await asyncio.to_thread(self.events.silent, name):
            await self._check_agent(name)
        else:
            await asyncio.to_thread(self.events.contact, name)

    async def repair(self, name: str) -> bool:
        """Reopen a link's tunnels if the node has lost them; return whether it had. ConnectError."""
        link = self._links.get(name)
        missing = await link.repair() if link is not None and link.state.up else ()
        if missing:
            log.warning("link %s: reopened; the node had lost %s", name, ", ".join(missing))
        return bool(missing)

    async def revive(self) -> None:
        """Try those links again that stopped for lack of a login, once the login session has changed."""
        for link in self._links.values():
            error = link.state.error
            if link.state.kind is LinkKind.STOPPED and error is not None and error.fault in LOGINS:
                link.start()

    async def leave(self, name: str) -> None:
        """Stop keeping the link to the node; the node agent continues."""
        link = self._links.pop(name, None)
        if link is not None:
            await link.close()

    async def close(self) -> None:
        """End all links and PanCode's own SSH servers; node agents and their runs continue."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*(self.leave(name) for name in tuple(self._links)))
        for server in self._servers.values():
            await server.stop()
        self._servers.clear()

    def state(self, name: str) -> LinkState | None:
        link = self._links.get(name)
        return link.state if link is not None else None

    def remote(self, name: str) -> Remote | None:
        """Return the live connection to the node; None if there is none."""
        link = self._links.get(name)
        return link.remote() if link is not None and link.state.up else None

    def _handle_change(self, name: str, state: LinkState) -> None:
        log.info("link %s: %s %s", name, state.kind, state.why)
        self.events.state(name, news_of(name, state))
        if state.kind is LinkKind.UP:
            task = asyncio.get_running_loop().create_task(self._check_agent(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        changed = state.error is not None and state.error.fault is LinkFault.HOST_KEY_CHANGED
        if state.kind is LinkKind.STOPPED and changed:
            log.error("link %s: the host key has changed; pancode node trust %s", name, name)

    async def _check_agent(self, name: str) -> None:
        """Check, after a link came up, that a node agent runs, or clean a node that was removed meanwhile."""
        try:
            await asyncio.to_thread(self.events.contact, name)
            node = self.settings.node_of(name)
            if node is not None and node.removed is None and not Reach.of(node).halted:
                await self._start_agent(name)
        except (PancodeError, ValueError) as exc:
            log.warning("link %s: the node agent could not be checked: %s", name, exc)

    async def _start_agent(self, name: str) -> None:
        remote = self.remote(name)
        reach = await self.reach(name)
        if remote is None:
            return
        found = await probe_node(remote, self.settings.fleet, reach.node_home)
        fit = list_pythons(found)
        if found.agent == "stopped" and found.current and fit:
            place = steps.NodeLocation.of(self.settings.fleet, found)
            await run_step(remote, steps.start_step(place, found, fit[0].path, restart=False))


def news_of(name: str, state: LinkState) -> LinkNews:
    """Return the update for this state. A problem that only a user can fix is also reported between tries."""
    trying = state.kind not in (LinkKind.STOPPED, LinkKind.CLOSED)
    changed = state.error is not None and state.error.fault is LinkFault.HOST_KEY_CHANGED
    return LinkNews(
        up=state.up,
        broken=state.kind in (LinkKind.DOWN, LinkKind.STOPPED),
        trying=trying,
        why=state.why if state.stuck or not trying else "",
        fix=state.error.fix_at(name) if state.error is not None else "",
        changed_key=state.why if changed else "",
    )
