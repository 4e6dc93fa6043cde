"""One generation of a node's tunnels: its folder, its forwards and the file that points to them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from pancode.adapters.ssh.errors import ConnectError, LinkFault, translated
from pancode.adapters.ssh.remote import Completed, Remote
from pancode.adapters.ssh.scripts import OPEN_LINK, PUBLISH_LINK, spoken

PATH_LIMIT = 104
"""Bytes of a socket path, the closing zero included (the smaller one of the systems' limits)."""
SCRIPT_TIMEOUT_S = 15
_NAMES = ("redis", "depot")
_LONGEST = "/XXXXXXXX/redis.sock"


End = Path | tuple[str, int]
"""A unix socket, or host and port, as the coordinator reaches it."""


@dataclass(frozen=True, slots=True)
class Ends:
    """What the node is to reach on the coordinator's side; Redis may be somebody else's, on another host."""

    redis: End
    depot: Path

    def of(self, name: str) -> End:
        return self.redis if name == "redis" else self.depot


@dataclass(frozen=True, slots=True)
class Folders:
    """`pointer` is the node home's `s/`; `sockets` the same, or a short folder if paths would be too long."""

    pointer: str
    sockets: str


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of live forwards. `redis` and `depot` are `unix:PATH` or `tcp:127.0.0.1:PORT` on the node."""

    name: str
    folder: str
    redis: str
    depot: str

    @property
    def mode(self) -> str:
        return "unix" if self.redis.startswith("unix:") and self.depot.startswith("unix:") else "tcp"

    def pointer(self) -> str:
        """The text of `s/current`, by which the node agent finds the newest generation: one line of JSON."""
        shape = {"generation": self.name, "redis": self.redis, "depot": self.depot}
        return json.dumps(shape, sort_keys=True, separators=(",", ":"))


def folders(node_home: str, uid: int) -> Folders:
    """Where sockets go. A long home gets a folder under /tmp, named by its digest, checked to be ours."""
    pointer = f"{node_home}/s"
    if len((pointer + _LONGEST).encode()) < PATH_LIMIT:
        return Folders(pointer, pointer)
    digest = hashlib.sha256(node_home.encode()).hexdigest()[:10]
    return Folders(pointer, f"/tmp/pancode-{uid}-{digest}")


def _checked(done: Completed) -> dict[str, str]:
    """What a script said; a failure is about the node's home folder, and heals when that does."""
    try:
        if done.status == 0:
            return dict(spoken(done.text))
        why = done.stderr.decode("utf-8", "replace").strip()[-400:] or f"exit {done.status}"
    except ValueError as error:
        why = str(error)
    raise ConnectError(
        LinkFault.HOME_UNUSABLE,
        "the node's home folder cannot hold our sockets",
        why=why,
        fix="check that it is writable, not full, and owned by the login user",
    )


async def open_generation(remote: Remote, where: Folders, ends: Ends) -> Generation:
    """End stale sessions, make the folder, open both forwards, then point to them. Raises ConnectError."""
    said = _checked(await remote.script(OPEN_LINK, [where.pointer, where.sockets], SCRIPT_TIMEOUT_S))
    folder = said["folder"]
    addresses = {name: await _forward(remote.conn, f"{folder}/{name}.sock", ends.of(name)) for name in _NAMES}
    generation = Generation(folder.rsplit("/", 1)[1], folder, addresses["redis"], addresses["depot"])
    text = generation.pointer()
    _checked(await remote.script(PUBLISH_LINK, [where.pointer, folder, text], SCRIPT_TIMEOUT_S))
    return generation


async def _forward(conn: asyncssh.SSHClientConnection, path: str, end: End) -> str:
    """A unix socket on the node; a loopback port where its server forbids those; else ConnectError."""
    with translated():
        try:
            if isinstance(end, Path):
                await conn.forward_remote_path(path, str(end))
            else:
                await conn.forward_remote_path_to_port(path, *end)
        except asyncssh.ChannelListenError:
            port = await _forward_port(conn, end)
            return f"tcp:127.0.0.1:{port}"
    return f"unix:{path}"


async def _forward_port(conn: asyncssh.SSHClientConnection, end: End) -> int:
    if isinstance(end, Path):
        return (await conn.forward_remote_port_to_path("127.0.0.1", 0, str(end))).get_port()
    return (await conn.forward_remote_port("127.0.0.1", 0, *end)).get_port()
