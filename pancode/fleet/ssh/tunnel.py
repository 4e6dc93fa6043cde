"""One generation (set) of a node's tunnels: its folder, its forwards, and the file that points to them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from pancode.fleet.ssh.connection_limit import LimitedForward
from pancode.fleet.ssh.errors import ConnectError, LinkFault, LinkLost, translate_ssh_errors
from pancode.fleet.ssh.forward_targets import End
from pancode.fleet.ssh.remote import Completed, Remote
from pancode.fleet.ssh.scripts.link import CHECK_LINK, OPEN_LINK, PUBLISH_LINK, parse_report
from pancode.fleet.ssh.session_tunnel import SessionTunnel

PATH_LIMIT = 104
"""The maximum length of a socket path in bytes with its final zero (the smaller of the systems' limits)."""
SCRIPT_TIMEOUT_S = 15
_NAMES = ("redis", "depot")
_LONGEST = "/XXXXXXXX/redis.sock"
log = logging.getLogger("pancode.links")


@dataclass(frozen=True, slots=True)
class TunnelTargets:
    """The coordinator's services that a node must reach; Redis may be external, on another host."""

    redis: End
    depot: Path
    near: bool = False
    """Whether the node is this very computer: instead of a forward, its socket is a link to ours."""
    program: Callable[[Remote], Awaitable[Sequence[str]]] | None = None
    """Returns the command of the tunnel's end on the node, for a server that forbids forwarding; None: such a
    node cannot be linked. Raises ConnectError."""

    def of(self, name: str) -> End:
        return self.redis if name == "redis" else self.depot


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders on the node. `pointer`: the home's `s/`; `sockets`: the same, or a short one for long homes."""

    pointer: str
    sockets: str


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of live forwards. `redis`, `depot`: `unix:PATH` or `tcp:127.0.0.1:PORT`, on the node."""

    name: str
    folder: str
    redis: str
    depot: str

    @property
    def sockets(self) -> tuple[str, ...]:
        """Return the paths of the sockets on the node."""
        return tuple(a.removeprefix("unix:") for a in (self.redis, self.depot) if a.startswith("unix:"))

    def pointer(self) -> str:
        """Return the text of `s/current`, where the node agent finds the newest generation: one line of
        JSON."""
        shape = {"generation": self.name, "redis": self.redis, "depot": self.depot}
        return json.dumps(shape, sort_keys=True, separators=(",", ":"))


def choose_folders(node_home: str, uid: int) -> Folders:
    """Return a node's folders. If the home's path is long, sockets are under /tmp, in a folder named by its
    digest and checked to belong to the user."""
    pointer = f"{node_home}/s"
    if len((pointer + _LONGEST).encode()) < PATH_LIMIT:
        return Folders(pointer, pointer)
    digest = hashlib.sha256(node_home.encode()).hexdigest()[:10]
    return Folders(pointer, f"/tmp/pancode-{uid}-{digest}")


def _require_output(done: Completed) -> dict[str, str]:
    """Return the output of a script as pairs; a failure means that the node's home needs repair."""
    try:
        if done.status == 0:
            return dict(parse_report(done.text))
        why = done.stderr.decode("utf-8", "replace").strip()[-400:] or f"exit {done.status}"
    except ValueError as error:
        why = str(error)
    raise ConnectError(
        LinkFault.HOME_UNUSABLE,
        "cannot create sockets in the node's home directory",
        why=why,
        fix=(
            "check that the directory exists (else: pancode fleet up), is writable, has free space and "
            "belongs to the login user"
        ),
    )


class Tunnels:
    """The live generation on one connection: opened, checked, reopened if the node has lost its end. All
    methods raise ConnectError."""

    def __init__(self, remote: Remote, where: Folders, ends: TunnelTargets) -> None:
        self._remote, self._where, self._ends = remote, where, ends
        # One limit per service for all generations: connections through an older generation still count.
        self._forwards = {name: LimitedForward(ends.of(name)) for name in _NAMES}
        self._listeners: list[asyncssh.SSHListener] = []
        self._session: SessionTunnel | None = None

    async def open(self) -> Generation:
        """End stale sessions, make the folder, open both forwards, switch to them and close older
        forwards."""
        before, self._listeners = self._listeners, []
        for listener in before:  # existing connections through the closed forwards stay open
            listener.close()
        where = [self._where.pointer, self._where.sockets]
        folder = _require_output(await self._remote.script(OPEN_LINK, where, SCRIPT_TIMEOUT_S))["folder"]
        generation = Generation(folder.rsplit("/", 1)[1], folder, *await self._lead(folder))
        args = [self._where.pointer, folder, generation.pointer()]
        _require_output(await self._remote.script(PUBLISH_LINK, args, SCRIPT_TIMEOUT_S))
        return generation

    async def missing(self, generation: Generation) -> tuple[str, ...]:
        """Return the files of this generation that the node has lost or changed, found with one command."""
        args = [f"{self._where.pointer}/current", generation.pointer(), *generation.sockets]
        done = await self._remote.script(CHECK_LINK, args, SCRIPT_TIMEOUT_S)
        _require_output(done)
        return tuple(value for key, value in parse_report(done.text) if key == "gone")

    async def _lead(self, folder: str) -> tuple[str, str]:
        """Connect both services to sockets in this folder of the node, and return the sockets' addresses."""
        paths = [f"{folder}/{name}.sock" for name in _NAMES]
        if self._session is None:
            try:
                redis, depot = [await self._lead_path(*each) for each in zip(paths, _NAMES, strict=True)]
                return redis, depot
            except ConnectError as refused:
                if refused.fault is not LinkFault.FORWARDING_REFUSED or self._ends.program is None:
                    raise
            program = await self._ends.program(self._remote)
            log.info("forwarding is refused: one SSH session carries Redis and the depot")
            with translate_ssh_errors():
                self._session = await SessionTunnel.open(
                    self._remote.conn, program, self._forwards, self._break
                )
        with translate_ssh_errors():
            await self._session.listen(folder)
        return f"unix:{paths[0]}", f"unix:{paths[1]}"

    def _break(self, why: str) -> None:
        """End the connection, whose tunnel has ended: the link reconnects."""
        if not self._remote.session.lost.done():
            self._remote.session.lost.set_result(LinkLost(why))

    async def _lead_path(self, path: str, name: str) -> str:
        """Connect `path` on the node to a service: by a forward, or on this machine by a symbolic link."""
        end = self._ends.of(name)
        if not self._ends.near or not isinstance(end, Path):
            return await self._forward_socket(path, self._forwards[name])
        with translate_ssh_errors():
            os.symlink(end, path)
        return f"unix:{path}"

    async def _forward_socket(self, path: str, forward: LimitedForward) -> str:
        """Forward a unix socket on the node, or a loopback port if the SSH server forbids sockets. Raises
        ConnectError."""
        conn = self._remote.conn
        with translate_ssh_errors():
            try:
                listener = await conn.create_unix_server(lambda: _make_session(forward), path)
            except asyncssh.ChannelListenError:
                listener = await conn.create_server(
                    lambda _host, _port: _make_session(forward), "127.0.0.1", 0
                )
                self._listeners.append(listener)
                return f"tcp:127.0.0.1:{listener.get_port()}"
        self._listeners.append(listener)
        return f"unix:{path}"


def _make_session(forward: LimitedForward) -> Any:
    """Return the forwarder as a session, which asyncssh accepts although its types do not declare it."""
    return forward.enter()
