"""The worlds in which bus and uplink are tested: each has both ends and a hand on the store between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pancode.adapters.memory_bus import MemoryLinkDown, MemoryRedis
from pancode.ports import Bus

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

    def tail(self, tag: str) -> bytes | None: ...

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
        return None if found is None else found.state.value

    def tail(self, tag: str) -> bytes | None:
        return self.redis.store.tails.get(tag)

    def set_down(self, down: bool) -> None:
        self.redis.down = down

    def cut(self, tag: str, cut: bool) -> None:
        (self.redis.cut.add if cut else self.redis.cut.discard)(tag)


WORLDS = ("memory",)


@contextmanager
def open_world(name: str) -> Iterator[BusWorld]:
    """A fresh world of that name."""
    assert name == "memory"
    yield MemoryWorld()
