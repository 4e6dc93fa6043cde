"""A loopback node, two echoing ends and a link between them, for one test in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pancode.fleet.ssh.connection import Session, SshTiming, open_session
from pancode.fleet.ssh.home import LoopbackKeys, make_key
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.link import Backoff, Link, LinkState
from pancode.fleet.ssh.loopback.server import LoopbackNode, LoopbackServer
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.tunnel import Folders, TunnelTargets, choose_folders

QUICK = Backoff(first_s=0.02, last_s=0.1, steady_s=0.2, refused_s=0.1)
TIMING = SshTiming(connect_s=3, login_s=3, keepalive_s=0.3, keepalive_count=2)
KEYS = LoopbackKeys(make_key(), make_key())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, in upper case, to the end."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data.upper())
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    finally:
        writer.close()


@dataclass
class SshLab:
    """One node on this machine."""

    folder: Path
    server: LoopbackServer
    ends: TunnelTargets
    pins: dict[str, HostKey]
    states: list[LinkState] = field(default_factory=list)
    dials: int = 0

    @property
    def home(self) -> Path:
        return self.server.node.home

    @property
    def where(self) -> Folders:
        return choose_folders(str(self.home / "n"), 0)

    async def dial(self) -> Session:
        self.dials += 1
        return await open_session(self.server.target, self.pins, self.server.login, TIMING)

    def link(self, dial: Callable[[], Awaitable[Session]] | None = None) -> Link:
        # A bring-up makes the node's home; a link never does.
        (self.home / "n").mkdir(mode=0o700, exist_ok=True)
        return Link("desk", dial or self.dial, self.where, self.ends, self.states.append, QUICK)

    async def restart(self, keys: LoopbackKeys = KEYS) -> None:
        """The node's server dies and comes back on its port, as after a crash."""
        port, node = self.server.port, self.server.node
        await self.server.stop()
        self.server = LoopbackServer(LoopbackNode(node.name, node.user, node.home, keys))
        await self.server.start(port)


async def talk(address: str, data: bytes) -> bytes:
    """Send through a tunnel's end on the node and read all that comes back."""
    kind, _, rest = address.partition(":")
    if kind == "unix":
        reader, writer = await asyncio.open_unix_connection(rest)
    else:
        host, _, port = rest.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    writer.write_eof()
    back = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return back


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[SshLab]:
    """Everything up; everything down again."""
    server = LoopbackServer(LoopbackNode("desk", "me", folder / "h", KEYS))
    await server.start()
    ends = TunnelTargets(folder / "r.sock", folder / "d.sock")
    listeners = [await asyncio.start_unix_server(echo, str(p)) for p in (ends.redis, ends.depot)]
    it = SshLab(folder, server, ends, {server.target.endpoint: server.host_key})
    try:
        yield it
    finally:
        await it.server.stop()
        for listener in listeners:
            listener.close()
            await listener.wait_closed()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def remote(it: SshLab) -> AsyncIterator[Remote]:
    session = await it.dial()
    try:
        yield Remote(session)
    finally:
        await session.close()
