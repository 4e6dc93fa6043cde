"""Fixtures: each test gets a fresh real server, the coordinator's end of it and its own node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node_agent.link.bus import RedisUplink, UplinkIntervals
from node_agent.link.client import Place
from node_agent.wire.clock import SystemClock
from pancode.queue.queue import BusIntervals, RedisBus
from pancode.queue.valkey.access import connect
from tests.contract.redis_servers import Server, open_server

TAG, OTHER = "0a1b2c3d4e", "f0e1d2c3b4"
PASSWORD = "a node's password"
SHIPPED = UplinkIntervals()


@dataclass
class Site:
    """One server with both ends."""

    server: Server
    bus: RedisBus
    admin: Any
    opened: list[Any]

    def uplink(
        self, tag: str = TAG, place: Place | None = None, intervals: UplinkIntervals = SHIPPED
    ) -> RedisUplink:
        """A new process of the node; `place` when it is not the server itself."""
        self.bus.admit_node(tag, PASSWORD)
        uplink = RedisUplink(
            tag, lambda: place or self.server.place, lambda: PASSWORD, SystemClock(), intervals
        )
        self.opened.append(uplink)
        return uplink

    def impatient_bus(self) -> RedisBus:
        """One for which every claim is long ago."""
        bus = RedisBus(self.server.access, SystemClock(), BusIntervals(claim_lease_ms=0))
        self.opened.append(bus)
        return bus


def open_site(name: str, folder: Path) -> Iterator[Site]:
    server = open_server(name, folder)
    bus, admin = RedisBus(server.access, SystemClock()), connect(server.access)
    site = Site(server, bus, admin, [bus, admin])
    try:
        yield site
    finally:
        for one in site.opened:
            one.close()
        server.discard()


@pytest.fixture(params=["valkey", "redis"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from open_site(request.param, tmp_path)


@pytest.fixture
def valkey_site(tmp_path: Path) -> Iterator[Site]:
    yield from open_site("valkey", tmp_path)
