"""The worlds in which bus and uplink are tested: each has both ends and a hand on the store between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from node_agent.attempt.ports import LinkDown
from node_agent.link.bus import RedisUplink
from node_agent.wire.clock import SystemClock
from pancode.kernel.ports import Bus
from pancode.queue.queue import BusIntervals, RedisBus
from pancode.queue.valkey.access import connect
from tests.contract.redis_servers import Server, open_server
from tests.fakes.bus import MemoryLinkDown, MemoryRedis

TAGS = ("0a1b2c3d4e", "f0e1d2c3b4")
PASSWORD = "pass word of a node"


class BusWorld(Protocol):
    """One store with both ends."""

    bus: Bus
    link_down: type[Exception]
    settle_ms: int
    """How long a hint may need."""

    def node(self, tag: str) -> Any:
        """The uplink of a new process of that node, admitted."""

    def let_lease_pass(self) -> None:
        """From now on what was claimed before counts as claimed long ago."""

    def wipe(self) -> None:
        """FLUSHALL."""

    def state(self, job: str) -> str | None:
        """What RQ says of the job."""

    def set_down(self, down: bool) -> None:
        """The server is away for everybody, or back."""

    def cut(self, tag: str, cut: bool) -> None:
        """The link of one node is down, or back."""


class MemoryWorld:
    """The memory adapter."""

    link_down: type[Exception] = MemoryLinkDown
    settle_ms = 1

    def __init__(self) -> None:
        self.now = 1_000_000
        self.redis = MemoryRedis(lambda: self.now)
        self.bus: Bus = self.redis.bus()

    def node(self, tag: str) -> Any:
        self.bus.admit_node(tag, PASSWORD)
        return self.redis.uplink(tag)

    def let_lease_pass(self) -> None:
        self.now += self.redis.claim_lease_ms

    def wipe(self) -> None:
        self.redis.wipe()

    def state(self, job: str) -> str | None:
        found = self.redis.job(job)
        ticket = "queued" if job in self.redis.store.tickets else None
        return ticket if found is None else found.state.value

    def set_down(self, down: bool) -> None:
        self.redis.down = down

    def cut(self, tag: str, cut: bool) -> None:
        (self.redis.cut.add if cut else self.redis.cut.discard)(tag)


class ServerWorld:
    """The real adapters on a real server: PanCode's own Valkey, or another one given by its URL."""

    link_down: type[Exception] = LinkDown
    settle_ms = 2_000

    def __init__(self, server: Server) -> None:
        self.server = server
        self._cut: set[str] = set()
        self._lease_ms = 30_000
        self._opened: list[RedisBus | RedisUplink] = []
        self.admin = connect(server.access)
        self.bus: Bus = self._open_bus()

    def _open_bus(self) -> RedisBus:
        intervals = BusIntervals(claim_lease_ms=self._lease_ms)
        bus = RedisBus(self.server.access, SystemClock(), intervals)
        self._opened.append(bus)
        return bus

    def node(self, tag: str) -> Any:
        self.bus.admit_node(tag, PASSWORD)
        uplink = RedisUplink(tag, lambda: self._place(tag), lambda: PASSWORD, SystemClock())
        self._opened.append(uplink)
        return uplink

    def _place(self, tag: str) -> str | tuple[str, int] | None:
        return None if tag in self._cut else self.server.place

    def let_lease_pass(self) -> None:
        self._lease_ms = 0
        self.bus = self._open_bus()

    def wipe(self) -> None:
        self.admin.flushall()

    def state(self, job: str) -> str | None:
        found: Any = self.admin.hget(f"rq:job:{job}", "status")
        return None if found is None else found.decode()

    def set_down(self, down: bool) -> None:
        (self.server.stop if down else self.server.start)()

    def cut(self, tag: str, cut: bool) -> None:
        (self._cut.add if cut else self._cut.discard)(tag)

    def close(self) -> None:
        for one in self._opened:
            one.close()
        self.admin.close()
        self.server.discard()


WORLDS = ("memory", "valkey", "redis")


@contextmanager
def open_world(name: str, folder: Path) -> Iterator[BusWorld]:
    """A fresh world of that name; its files are in `folder`."""
    if name == "memory":
        yield MemoryWorld()
        return
    world = ServerWorld(open_server(name, folder))
    try:
        yield world
    finally:
        world.close()
