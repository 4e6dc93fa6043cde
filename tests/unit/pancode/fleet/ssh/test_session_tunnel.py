"""The coordinator's end of a tunnel in an SSH session: what it takes of a node, and how much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh
import pytest

from node_agent.wire.frames import HEAD, PIECE, WINDOW, FrameKind, frame_of, line_of
from pancode.fleet.ssh import session_tunnel
from pancode.fleet.ssh.connection_limit import Passing
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.session_tunnel import SessionTunnel

HELLO = b"Welcome to gpubox\n\n" + line_of({"protocol": 1})


class Sink:
    """The SSH channel: what was written; `read` False: the node reads nothing."""

    def __init__(self) -> None:
        self.data, self.closing, self.read = bytearray(), False, True
        self.size = 0

    def write(self, data: bytes) -> None:
        self.data += data
        self.size += 0 if self.read else len(data)

    def get_write_buffer_size(self) -> int:
        return self.size

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def frames(self) -> list[tuple[FrameKind, int, bytes]]:
        """All frames since the last call."""
        found, at = [], 0
        while at < len(self.data):
            kind, number, length = HEAD.unpack_from(self.data, at)
            at += HEAD.size
            found.append((FrameKind(kind), number, bytes(self.data[at : at + length])))
            at += length
        self.data.clear()
        return found


class Service(asyncio.Transport):
    """A connected service: what it got, and whether it is still read from."""

    def __init__(self) -> None:
        super().__init__()
        self.peer = asyncssh.SSHForwarder()
        self.peer.connection_made(self)
        self.got, self.reads, self.ended, self.closed = bytearray(), True, False, False

    def write(self, data: Any) -> None:
        self.got += data

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def close(self) -> None:
        self.closed = True


class Forward:
    """Connects to a new service each time; `full`: to none."""

    def __init__(self) -> None:
        self.services: list[Service] = []
        self.full, self.left = False, 0

    async def enter(self) -> Passing:
        if self.full:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "full")
        self.services.append(Service())
        passing = Passing(self.services[-1].peer, self._leave)
        asyncio.get_running_loop().call_soon(passing.end_unless_made)
        return passing

    def _leave(self) -> None:
        self.left += 1


class World:
    def __init__(self) -> None:
        self.redis, self.sink, self.lost = Forward(), Sink(), list[str]()
        forwards: dict[str, Any] = {"redis": self.redis, "depot": Forward()}
        self.tunnel = SessionTunnel(forwards, self.lost.append)
        channel: Any = self.sink
        self.tunnel.connection_made(channel)
        self.tunnel.data_received(HELLO, None)

    def come(self, *frames: tuple[FrameKind, int, bytes]) -> None:
        self.tunnel.data_received(b"".join(frame_of(*one) for one in frames), None)

    async def opened(self, number: int = 1) -> Service:
        self.come((FrameKind.OPEN, number, b"redis"))
        await asyncio.sleep(0)
        return self.redis.services[-1]


def inside(test: Callable[[World], Any]) -> None:
    async def go() -> None:
        await test(World())

    asyncio.run(go())


def test_bytes_before_the_connection_stands_are_passed_on_and_granted_again() -> None:
    async def go(world: World) -> None:
        world.come((FrameKind.OPEN, 1, b"redis"), (FrameKind.DATA, 1, b"early"), (FrameKind.END, 1, b""))
        await asyncio.sleep(0)
        (service,) = world.redis.services
        assert service.got == b"early" and service.ended
        assert world.sink.frames() == [(FrameKind.GRANT, 1, (5).to_bytes(4))]
        service.peer.data_received(b"answer")
        service.peer.eof_received()
        service.peer.connection_lost(None)
        kinds = [(FrameKind.DATA, 1, b"answer"), (FrameKind.END, 1, b""), (FrameKind.CUT, 1, b"")]
        assert world.sink.frames() == kinds and world.redis.left == 1 and not world.tunnel._channels

    inside(go)


def test_frames_in_single_bytes_and_the_login_s_own_words_around_them() -> None:
    async def go(world: World) -> None:
        service = await world.opened()
        for byte in frame_of(FrameKind.DATA, 1, b"one") + frame_of(FrameKind.DATA, 1, b"two"):
            world.tunnel.data_received(bytes((byte,)), None)
        world.tunnel.data_received(b"a warning of the shell", asyncssh.EXTENDED_DATA_STDERR)
        assert service.got == b"onetwo" and not world.lost

    inside(go)


def test_a_service_is_read_only_as_far_as_the_node_reads() -> None:
    async def go(world: World) -> None:
        service, other = await world.opened(), await world.opened(2)
        service.peer.data_received(bytes(WINDOW + 1))
        sent = world.sink.frames()
        assert sum(len(data) for _, _, data in sent) == WINDOW and max(len(d) for *_, d in sent) <= PIECE
        assert not service.reads and other.reads
        other.peer.data_received(b"other")
        assert world.sink.frames() == [(FrameKind.DATA, 2, b"other")]
        world.come((FrameKind.GRANT, 1, (1).to_bytes(4)))
        assert world.sink.frames() == [(FrameKind.DATA, 1, b"\0")] and service.reads

    inside(go)


def test_nothing_is_sent_while_the_session_is_full() -> None:
    async def go(world: World) -> None:
        service = await world.opened()
        world.tunnel.pause_writing()
        service.peer.data_received(b"x")
        assert not world.sink.data and not service.reads
        world.tunnel.resume_writing()
        assert world.sink.frames() == [(FrameKind.DATA, 1, b"x")] and service.reads

    inside(go)


def test_what_the_service_does_not_take_is_not_granted_again() -> None:
    async def go(world: World) -> None:
        service = await world.opened()
        service.peer.pause_writing()
        world.come(*[(FrameKind.DATA, 1, bytes(PIECE))] * (WINDOW // PIECE))
        assert not world.sink.data
        service.peer.resume_writing()
        assert world.sink.frames() == [(FrameKind.GRANT, 1, WINDOW.to_bytes(4))]
        assert not world.lost

    inside(go)


@pytest.mark.parametrize(
    "frames",
    [
        [(FrameKind.DATA, 1, bytes(PIECE))] * (WINDOW // PIECE + 1),
        [(FrameKind.DATA, 1, b"")],
        [(FrameKind.END, 1, b""), (FrameKind.DATA, 1, b"x")],
        [(FrameKind.OPEN, 1, b"redis")],
        [(FrameKind.OPEN, 2, b"ledger")],
        [(FrameKind.DATA, 1, bytes(PIECE + 1))],
        [(99, 1, b"")],
    ],
    ids=[
        "more than granted",
        "nothing",
        "after the end",
        "a number in use",
        "an unknown service",
        "too long",
        "an unknown kind",
    ],
)
def test_what_breaks_the_rules_ends_the_tunnel_and_all_connections(frames: list[Any]) -> None:
    async def go(world: World) -> None:
        service = await world.opened()
        service.peer.pause_writing()
        for frame in frames:
            world.tunnel.data_received(HEAD.pack(frame[0], frame[1], len(frame[2])) + frame[2], None)
        assert len(world.lost) == 1 and world.sink.closing and service.closed
        assert not world.tunnel._channels and world.redis.left == 1

    inside(go)


def test_a_node_that_reads_nothing_is_cut_before_answers_to_it_pile_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_tunnel, "MOST_UNREAD", most := 1000)

    async def go(world: World) -> None:
        world.sink.read, world.redis.full = False, True
        for number in range(most // HEAD.size + 2):
            world.come((FrameKind.OPEN, number, b"redis"))
        await asyncio.sleep(0)
        assert world.lost == ["the tunnel in the SSH session has ended: the node does not read"]
        assert world.sink.size <= most + HEAD.size

    inside(go)


def test_a_connection_that_is_refused_or_cut_while_it_opens_is_freed() -> None:
    async def go(world: World) -> None:
        world.come((FrameKind.OPEN, 1, b"redis"), (FrameKind.CUT, 1, b""))
        for _ in range(3):
            await asyncio.sleep(0)
        assert world.redis.left == 1 and world.redis.services[0].closed
        world.redis.full = True
        world.come((FrameKind.OPEN, 2, b"redis"))
        await asyncio.sleep(0)
        assert (FrameKind.CUT, 2, b"") in world.sink.frames() and not world.tunnel._channels

    inside(go)


def test_another_version_of_the_program_is_told_as_such() -> None:
    async def go() -> None:
        tunnel = SessionTunnel({}, lambda _: None)
        channel: Any = Sink()
        tunnel.connection_made(channel)
        tunnel.data_received(line_of({"protocol": 9}), None)
        with pytest.raises(ConnectError) as caught:
            await tunnel._begun
        assert caught.value.fault is LinkFault.FORWARDING_REFUSED and "another version" in caught.value.why
        assert caught.value.fix_at("gpubox").startswith("pancode fleet up gpubox")

    asyncio.run(go())
