"""One generation (set) of a node's tunnels: its folder, its forwards, and the file that points to them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from pancode.fleet.ssh.connection_limit import LimitedForward
from pancode.fleet.ssh.errors import ConnectError, LinkFault, translate_ssh_errors
from pancode.fleet.ssh.forward_targets import End
from pancode.fleet.ssh.remote import Completed, Remote
from pancode.fleet.ssh.scripts.link import CHECK_LINK, OPEN_LINK, PUBLISH_LINK, parse_report

PATH_LIMIT = 104
"""The maximum length of a socket path in bytes with its final zero (the smaller of the systems' limits)."""
SCRIPT_TIMEOUT_S = 15
_NAMES = ("redis", "depot")
_LONGEST = "/XXXXXXXX/redis.sock"


@dataclass(frozen=True, slots=True)
class Pass:
    """What a node needs for TLS: the coordinator's address, its authority, the node's certificate (PEM)."""

    address: str
    ca: str
    cert: str
    issued_ms: int
    renew_ms: int
    """When the certificate is due for renewal."""
    until_ms: int
    origin: str = ""
    """The setting that defines the address."""
    node: str = ""

    def outlives(self, newer: Pass) -> bool:
        """Whether this pass is still valid although `newer` could be issued now."""
        return (self.address, self.ca) == (newer.address, newer.ca) and newer.issued_ms < self.renew_ms


async def skip_trial(_remote: Remote, _pointer: str, _by: Pass) -> None:
    """Accept a direct link without a trial connection."""


@dataclass(frozen=True, slots=True)
class TunnelTargets:
    """The coordinator's services that a node must reach; Redis may be external, on another host."""

    redis: End
    depot: Path
    near: bool = False
    """Whether the node is this very computer: instead of a forward, its socket is a link to ours."""
    direct: Callable[[], Awaitable[Pass | None]] | None = None
    """Returns what the node needs for a direct link; None if it uses a tunnel. Called again each time."""
    prove: Callable[[Remote, str, Pass], Awaitable[None]] = skip_trial
    """Makes the node try the direct link before it is switched to it. Raises ConnectError."""

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
    by: Pass | None = None

    @property
    def sockets(self) -> tuple[str, ...]:
        """Return the paths of the sockets on the node."""
        return tuple(a.removeprefix("unix:") for a in (self.redis, self.depot) if a.startswith("unix:"))

    @property
    def mode(self) -> str:
        if self.by is not None:
            return "tls"
        return "unix" if len(self.sockets) == len(_NAMES) else "tcp"

    def pointer(self) -> str:
        """Return the text of `s/current`, where the node agent finds the newest generation: one line of
        JSON."""
        shape = {"generation": self.name, "redis": self.redis, "depot": self.depot}
        if self.by is not None:
            shape |= {"ca": self.by.ca, "cert": self.by.cert}
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

    async def open(self) -> Generation:
        """End stale sessions, make the folder, open both forwards, switch to them and close older
        forwards."""
        by = await self._pass()
        # before anything is closed: a node that cannot connect directly keeps its current link
        if by is not None:
            await self._ends.prove(self._remote, _make_direct("", "", by).pointer(), by)
        before, self._listeners = self._listeners, []
        for listener in before:  # existing connections through the closed forwards stay open
            listener.close()
        where = [self._where.pointer, self._where.sockets]
        folder = _require_output(await self._remote.script(OPEN_LINK, where, SCRIPT_TIMEOUT_S))["folder"]
        name = folder.rsplit("/", 1)[1]
        generation = (
            _make_direct(name, folder, by) if by is not None else await self._make_forwards(name, folder)
        )
        args = [self._where.pointer, folder, generation.pointer()]
        _require_output(await self._remote.script(PUBLISH_LINK, args, SCRIPT_TIMEOUT_S))
        return generation

    async def missing(self, generation: Generation) -> tuple[str, ...]:
        """Return the files of this generation that the node has lost or changed, found with one command. Also
        returns what the coordinator must change: the kind of link, or a certificate due for renewal."""
        newer, by = await self._pass(), generation.by
        if (newer is None) != (by is None):
            return ("the tunnels" if newer is None else "the direct link",)
        if by is not None and newer is not None and not by.outlives(newer):
            return ("a renewed certificate",)
        args = [f"{self._where.pointer}/current", generation.pointer(), *generation.sockets]
        done = await self._remote.script(CHECK_LINK, args, SCRIPT_TIMEOUT_S)
        _require_output(done)
        return tuple(value for key, value in parse_report(done.text) if key == "gone")

    async def _pass(self) -> Pass | None:
        return await self._ends.direct() if self._ends.direct is not None else None

    async def _make_forwards(self, name: str, folder: str) -> Generation:
        redis, depot = [await self._lead_path(f"{folder}/{end}.sock", end) for end in _NAMES]
        return Generation(name, folder, redis, depot)

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


def _make_direct(name: str, folder: str, by: Pass) -> Generation:
    return Generation(name, folder, f"tls:{by.address}", f"tls:{by.address}", by)


def _make_session(forward: LimitedForward) -> Any:
    """Return the forwarder as a session, which asyncssh accepts although its types do not declare it."""
    return forward.enter()
