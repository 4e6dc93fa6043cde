"""The coordinator's half beside the lab's hosts: targets, pins, echoing ends and links."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pancode.fleet.ssh.connection import Session, SshTiming, open_session
from pancode.fleet.ssh.credentials import SshLogin
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.link import Backoff, Link, LinkKind, LinkState
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.target import Target
from pancode.fleet.ssh.tunnel import Folders, Generation, TunnelTargets, choose_folders
from tests.crowd import crowded
from tests.integration.ssh.world import echo
from tests.lab import Lab

QUICK = Backoff(first_s=0.1, last_s=0.5, steady_s=1, refused_s=0.3)
UP, DOWN, STOPPED = [LinkKind.UP], [LinkKind.DOWN], [LinkKind.STOPPED]
NODE_HOME = "/home/ops/.pancode-node/e2e"

ASK = """import socket, sys
kind, _, rest = sys.argv[1].partition(":")
if kind == "unix":
    s = socket.socket(socket.AF_UNIX); s.connect(rest)
else:
    host, _, port = rest.rpartition(":"); s = socket.create_connection((host, int(port)))
s.settimeout(10)
s.sendall(b"x" * int(sys.argv[2])); s.shutdown(socket.SHUT_WR)
n = 0
while True:
    data = s.recv(65536)
    if not data: break
    if data.strip(b"X"): sys.exit("other bytes came back")
    n += len(data)
print(n)
"""


def timing() -> SshTiming:
    """A host that got no processor for a while is not silent."""
    crowd = crowded()
    return SshTiming(2 * crowd, 3 * crowd, keepalive_s=0.5 * crowd, keepalive_count=3, total_s=10 * crowd)


@dataclass
class LinkLab:
    """What reaches the hosts of one lab."""

    lab: Lab
    ends: TunnelTargets
    states: dict[int, list[LinkState]] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    dials: int = 0

    def target(self, k: int, **more: object) -> Target:
        key = (f"{self.lab.dir}/id_ed25519",)
        return Target(f"node{k}", self.lab.hosts[k]["addr"], 22, "ops", identities=key, **more)  # type: ignore[arg-type]

    def pins(self, *ks: int) -> dict[str, HostKey]:
        return {self.target(k).endpoint: HostKey.parse(self.lab.hosts[k]["host_key"]) for k in ks}

    def where(self, k: int) -> Folders:
        return choose_folders(NODE_HOME, self.lab.hosts[k]["uid"])

    def link(self, k: int, login: SshLogin | None = None, target: Target | None = None) -> Link:
        """Started; its states are in `states[k]`, its pin is the key that the host has now."""
        self.states[k] = []
        if self.lab.hosts[k]["state"] == "up":
            self.make_home(k)
        pins, goal = self.pins(*self.lab.hosts), target or self.target(k)

        async def dial() -> Session:
            self.dials += 1
            return await open_session(goal, pins, login or SshLogin(), timing())

        link = Link(f"node{k}", dial, self.where(k), self.ends, self.states[k].append, QUICK)
        self.links.append(link)
        link.start()
        return link

    async def up(self, *ks: int) -> list[Link]:
        """Links of these hosts, all up."""
        links = [self.link(k) for k in ks]
        for state in await asyncio.gather(*(link.wait(UP, 15 * crowded()) for link in links)):
            assert state.up, state
        return links

    @asynccontextmanager
    async def remote(self, k: int, login: SshLogin | None = None) -> AsyncIterator[Remote]:
        session = await open_session(self.target(k), self.pins(k), login or SshLogin(), timing())
        try:
            yield Remote(session)
        finally:
            await session.close()

    def make_home(self, k: int) -> None:
        """As bring-up does before it asks for a link."""
        self.shell(k, f"mkdir -p {NODE_HOME} && chown ops: {NODE_HOME} {NODE_HOME}/.. || :")

    def sessions(self, k: int) -> int:
        """SSH sessions of the login user that live on the host."""
        done = self.shell(k, "ps -eo user:20,comm | grep -c '^ops  *sshd' || :")
        return int(done.stdout)

    async def becomes(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """What was ended is gone a moment later."""
        began = time.monotonic()
        while not await holds():
            assert time.monotonic() - began < 15 * crowded(), what
            await asyncio.sleep(0.05)

    async def one_session(self, k: int) -> bool:
        return await asyncio.to_thread(self.sessions, k) == 1

    def shell(self, k: int, text: str) -> subprocess.CompletedProcess[str]:
        """By the back listener, as root, without SSH."""
        return self.lab.run(k, text)

    async def back_door(self, k: int, text: str) -> str:
        return (await asyncio.to_thread(self.shell, k, text)).stdout


@asynccontextmanager
async def coordinator(lab: Lab, folder: Path) -> AsyncIterator[LinkLab]:
    """Ends that echo; every link closed, and what lies on the hosts taken away at the end."""
    ends = TunnelTargets(folder / "r.sock", folder / "d.sock")
    listeners = [await asyncio.start_unix_server(echo, str(p)) for p in (ends.redis, ends.depot)]
    it = LinkLab(lab, ends)
    try:
        yield it
    finally:
        await asyncio.gather(*(link.close() for link in it.links))
        for k, host in lab.hosts.items():
            if host["state"] == "up" and "readonly-home" not in host["faults"]:
                await it.back_door(
                    k, f"rm -rf {NODE_HOME}; rmdir --ignore-fail-on-non-empty /home/ops/.pancode-node || :"
                )
        for listener in listeners:
            listener.close()
            await listener.wait_closed()
        await asyncio.sleep(0.05)


async def passes(link: Link, ends: Sequence[str] = ("redis", "depot"), size: int = 300_000) -> bool:
    """Whether bytes pass both ways, asked for by a program on the node itself."""
    now = generation(link)
    for name in ends:
        done = await link.run(["python3", "-c", ASK, getattr(now, name), str(size)], 20)
        done.check(f"the tunnel to {name}")
        if int(done.text.split()[-1]) != size:
            return False
    return True


def generation(link: Link) -> Generation:
    assert link.state.generation is not None, link.state
    return link.state.generation
