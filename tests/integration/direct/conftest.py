"""A real Valkey and a real depot behind an entrance, and nodes with keys and certificates of their own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node_agent.link import client
from node_agent.link.direct import Secure
from node_agent.wire.clock import SystemClock
from node_agent.wire.signing import PublicKey, SigningKey
from pancode.fleet.direct.authority import Authority
from pancode.fleet.direct.entrance import DirectNode, Entrance, Rooms
from pancode.fleet.place import ListenAddress, NodeListener
from pancode.fleet.ssh.forward_targets import End
from pancode.fleet.ssh.loop import LoopThread
from pancode.git.depot import Depot
from pancode.queue.queue import RedisBus
from pancode.queue.valkey.layout import node_user
from tests.contract.redis_servers import Server, open_server
from tests.integration.git.depot_world import Depots

DAY_MS = 24 * 3600 * 1000


class Shifted(SystemClock):
    """The machine's clock, so many days off."""

    def __init__(self, days: float = 0) -> None:
        self.days = days

    def wall_ms(self) -> int:
        return super().wall_ms() + int(self.days * DAY_MS)


class Asking:
    """A node's client of Redis; `ask` sends all at once, and the first refusal raises."""

    def __init__(self, place: client.Place, user: str, password: str) -> None:
        self.redis = client.connect(client.Access(place, user, lambda: password, 5, 10))

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        with self.redis.pipeline(transaction=False) as pipe:
            for words in commands:
                pipe.execute_command(*words)
            found: list[Any] = pipe.execute()
            return found

    def line(self) -> Any:
        """One connection, logged in: send_command, read_response, can_read."""
        return self.redis.connection_pool.get_connection()

    def close(self) -> None:
        self.redis.connection_pool.disconnect()


@dataclass
class House:
    """One coordinator's side; `open` its entrance before nodes come."""

    folder: Path
    place: ListenAddress
    server: Server
    bus: RedisBus
    depot: Depots
    loop: LoopThread
    clock: Shifted = field(default_factory=Shifted)
    known: dict[str, str] = field(default_factory=dict)
    """Names by public key."""
    out: dict[str, str] = field(default_factory=dict)
    """Why a name may not come in."""
    away: Exception | None = None
    """What the ledger says instead of an answer."""
    asked: int = 0
    listens: ListenAddress | None = None
    """Where its entrance is, when nodes go to another place."""

    def authority(self, clock: Shifted | None = None, name: str = "direct") -> Authority:
        return Authority(self.folder / name, "f-test", clock or self.clock)

    def judge(self, key: PublicKey) -> DirectNode | str:
        self.asked += 1
        if self.away is not None:
            raise self.away
        name = self.known.get(key.text())
        if name is None:
            return "no node of the fleet has that key"
        return self.out.get(name) or DirectNode(name, node_user(key.tag))

    def open(self, redis: End | None = None, authority: Authority | None = None) -> Entrance:
        rooms = Rooms(redis or Path(str(self.server.place)), self.depot.socket)
        entrance = Entrance(
            NodeListener(self.listens or self.place, self.place),
            authority or self.authority(),
            rooms,
            self.judge,
        )
        self.loop.begin(entrance.keep())
        self.loop.call(entrance.tried.wait(), 10)
        return entrance

    def node(self, name: str, seed: bytes) -> Visitor:
        visitor = Visitor(self, name, SigningKey(seed * 32))
        (visitor.keys).mkdir(mode=0o700)
        (visitor.keys / "node.key").write_text(visitor.key.text())
        self.known[visitor.key.public.text()] = name
        self.bus.admit_node(visitor.tag, visitor.password)
        return visitor


@dataclass
class Visitor:
    """One node: its key, its password, and what it would show."""

    house: House
    name: str
    key: SigningKey

    @property
    def tag(self) -> str:
        return self.key.public.tag

    @property
    def password(self) -> str:
        return f"password of {self.name}"

    @property
    def keys(self) -> Path:
        return self.house.folder / self.name

    def end(self, end: str = "redis", by: Authority | None = None, ca: str | None = None) -> Secure:
        """`by`: who vouches for it; `ca`: whom it believes."""
        mine = self.house.authority()
        cert = (by or mine).node(self.tag, self.key.public).cert
        place = self.house.place
        return Secure(place.host, place.port, end, ca or mine.ca, cert, self.keys)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = ListenAddress("127.0.0.1", free.getsockname()[1], "a test")
    server = open_server("valkey", tmp_path)
    bus, loop = RedisBus(server.access, SystemClock()), LoopThread("direct")
    depot = Depots(tmp_path, Depot(tmp_path / "depots"))
    depot.server.start()
    try:
        yield House(tmp_path, place, server, bus, depot, loop)
    finally:
        loop.stop()
        depot.server.stop()
        bus.close()
        server.discard()


@pytest.fixture
def anna(house: House) -> Visitor:
    return house.node("anna", b"a")


@pytest.fixture
def boris(house: House) -> Visitor:
    return house.node("boris", b"b")
