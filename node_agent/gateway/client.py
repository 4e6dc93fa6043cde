"""The agent's side of the gateway: who may connect, maximum request sizes, answers and disconnects."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from node_agent.gateway.http import (
    HEAD_BYTES,
    LAST_CHUNK,
    BadMessage,
    Framing,
    Head,
    TooLarge,
    body_of,
    encode_chunk,
    framing_of,
    head_bytes,
    read_head,
    read_whole,
)
from node_agent.gateway.meter import Wire
from node_agent.gateway.requests import HOP, RequestTarget
from node_agent.gateway.upstream import UpstreamResponse

MOST_WAITING, KEPT_WAITING = 128, 96
"""The maximum number of callers that have not shown the key; if exceeded, the second number may stay."""
FIRST_S = 15.0
"""The maximum seconds from the connection to the first request, which must show the key."""
_TABLE = "/proc/net/tcp"
_UCRED = struct.Struct("3i")
_UID_COLUMN = 7


Ports = tuple[int, int]


@dataclass(slots=True, eq=False)
class OpenConnection:
    """One connection. `ports`: the caller's and ours, for TCP; `uid`: the caller's user, if known."""

    task: asyncio.Task[object]
    ports: Ports
    uid: int | None = None


def select_surplus(waiting: Sequence[OpenConnection], room: int) -> list[OpenConnection]:
    """Return the connections to close so that at most `room` are left. `waiting`: the oldest first. Each is
    the oldest connection of the user with the most; a genuine caller shows the key at once."""
    by_user: defaultdict[int | None, deque[OpenConnection]] = defaultdict(deque)
    for caller in waiting:
        by_user[caller.uid].append(caller)
    return [max(by_user.values(), key=len).popleft() for _ in range(len(waiting) - room)]


class Lobby:
    """All connections of one gateway. `most`: the maximum that may stay open after showing the key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[OpenConnection, None] = {}
        self._known: set[OpenConnection] = set()

    @contextlib.contextmanager
    def visit(self, writer: asyncio.StreamWriter) -> Iterator[OpenConnection]:
        """Register the caller while this task serves the connection; the task is canceled to close it."""
        task = asyncio.current_task()
        assert task is not None
        caller = _find_caller(task, writer)
        self._waiting[caller] = None
        if len(self._waiting) > MOST_WAITING:
            users = users_by_ports()
            for waiting in self._waiting:
                if waiting.uid is None:
                    waiting.uid = users.get(waiting.ports)
            for waiting in select_surplus(tuple(self._waiting), KEPT_WAITING):
                del self._waiting[waiting]
                waiting.task.cancel()
        try:
            yield caller
        finally:
            self._waiting.pop(caller, None)
            self._known.discard(caller)

    def knows(self, caller: OpenConnection) -> bool:
        """Record that the caller has shown the key. False: too many have, so close the connection."""
        if caller not in self._known and len(self._known) >= self._most:
            return False
        self._waiting.pop(caller, None)
        self._known.add(caller)
        return True

    async def close(self) -> None:
        """End all connections."""
        tasks = [caller.task for caller in (*self._waiting, *self._known)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def users_by_ports() -> dict[Ports, int]:
    """Return the user id of each TCP connection's local end on this computer; empty if unknown."""
    try:
        with open(_TABLE) as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return {}
    return {(_parse_port(row[1]), _parse_port(row[2])): int(row[_UID_COLUMN]) for row in rows}


def _parse_port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _find_caller(task: asyncio.Task[object], writer: asyncio.StreamWriter) -> OpenConnection:
    """Return the caller. A unix socket reports its user; for TCP the kernel's table is read later."""
    line = writer.get_extra_info("socket")
    if line.family == socket.AF_UNIX:
        credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return OpenConnection(task, (0, 0), _UCRED.unpack(credentials)[1])
    near, far = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    return OpenConnection(task, (far[1] if far else 0, near[1]))


MB = 1 << 20
LARGEST: dict[Wire, int] = {
    Wire.ANTHROPIC: 32 * MB,
    Wire.CHAT: 32 * MB,
    Wire.RESPONSES: 32 * MB,
    Wire.GEMINI: 20 * MB,
    Wire.OLLAMA: 32 * MB,
}
"""The maximum bytes of a request by API: the vendors' limits, if known. The longest request seen has 2 MB."""
SMALL = MB
"""The maximum bytes of a request that only reads, and needs no body."""
IN_MEMORY = 64 * MB
"""The maximum bytes of all running requests together; further requests wait unread."""
MOST_VALUES = 250_000
"""The maximum number of JSON values in a request: each one takes up to 250 bytes in memory, even if short."""
_BEGINNINGS = (b",", b"[", b"{")
_QUOTES_EACH = 4
"""The maximum number of quotes per value: a value and its name may be two strings."""


def find_body_limit(target: RequestTarget) -> int:
    """Return the maximum bytes that the request may have."""
    return LARGEST[target.route.wire] if target.method == "POST" else SMALL


def check_values(body: bytes) -> None:
    """Raise TooLarge if the body has more JSON values than can be read cheaply. For valid JSON the computed
    number is never too low."""
    if _count_marks(body) <= MOST_VALUES:
        return
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # the remaining quotes begin or end strings
    if (
        bare.count(b'"') > _QUOTES_EACH * MOST_VALUES
        or _count_marks(b"".join(bare.split(b'"')[::2])) > MOST_VALUES
    ):
        raise TooLarge(f"the request has more than {MOST_VALUES} JSON values")


def _count_marks(text: bytes) -> int:
    """Count the characters that precede values: each value except the outermost follows one of them."""
    return sum(text.count(mark) for mark in _BEGINNINGS)


class Room:
    """Admits requests only while all of them together fit into memory."""

    def __init__(self, size: int = IN_MEMORY) -> None:
        self._free = size
        self._freed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def of(self, framing: int | Framing, most: int) -> AsyncIterator[None]:
        """Reserve memory while a body is read; a body of unknown size counts as one of maximum size."""
        size = min(framing, most) if isinstance(framing, int) else most
        while self._free < size:
            await self._freed.wait()
        self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._freed.set()
            self._freed = asyncio.Event()


T = TypeVar("T")
READ_S = 60.0
"""Seconds within which a whole body must arrive."""
DROPPED_BYTES, DROP_S = 1 << 20, 5.0
"""The bytes of a refused body that are read and discarded: a sender does not read an answer on a closed
connection."""
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 413: "Content Too Large", 502: "Bad Gateway"}


class ResponseBody:
    """An answer's body that is being sent to the agent; the last piece is held back until `end`."""

    def __init__(self, writer: asyncio.StreamWriter, chunked: bool) -> None:
        self._writer, self._chunked = writer, chunked
        self._pending = b""

    async def send(self, piece: bytes) -> None:
        if self._chunked:
            self._writer.write(encode_chunk(piece))
        else:
            self._writer.write(self._pending)
            self._pending = piece
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(LAST_CHUNK if self._chunked else self._pending)
        await self._writer.drain()


class AgentConnection(asyncio.StreamReaderProtocol):
    """One connection; detects at once that the agent disconnects, even while it waits for an answer."""

    def __init__(self, serve: Callable[[AgentClient], Awaitable[None]]) -> None:
        self._client: AgentClient | None = None
        super().__init__(asyncio.StreamReader(limit=HEAD_BYTES), self._take_streams)
        self._serve = serve

    async def _take_streams(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = AgentClient(reader, writer)
        await self._serve(self._client)

    def eof_received(self) -> bool | None:
        kept = super().eof_received()
        self._end_connection()
        return kept

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end_connection()

    def _end_connection(self) -> None:
        if self._client is not None:
            self._client.hung_up()


class AgentClient:
    """The gateway's end of an agent's connection. `is_known`: the agent has shown the key (may stay idle)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._working: asyncio.Task[Any] | None = None
        self.is_known = self._is_old = False

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Cancel the current task if the agent disconnects while the task waits for an answer."""
        self._working = asyncio.current_task()
        try:
            yield
        finally:
            self._working = None

    def hung_up(self) -> None:
        if self._working is not None:
            self._working.cancel()

    async def next(self) -> Head | None:
        """Return the next request's head; None if no request follows. Raises BadMessage."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self.is_known else FIRST_S):
                head = await read_head(self._reader)
                self._is_old = head is not None and head.is_old
                return head
        return None

    async def body(self, head: Head, most: int) -> bytes:
        """Return the whole request body, of at most `most` bytes. Raises TooLarge, BadMessage."""
        if "100-continue" in head.joined("expect"):
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await read_within(READ_S, read_whole(self._reader, framing_of(head, 0), most))

    async def drop(self, head: Head) -> None:
        """Discard a refused body, within limits; the connection cannot be used afterwards."""
        if "100-continue" not in head.joined("expect"):
            with contextlib.suppress(BadMessage):
                await read_within(DROP_S, self._drop(framing_of(head, 0)))

    async def _drop(self, framing: int | Framing) -> None:
        size = 0
        async for piece in body_of(self._reader, framing):
            size += len(piece)
            if size > DROPPED_BYTES:
                return

    async def begin(self, answer: UpstreamResponse) -> ResponseBody:
        """Send the head of the server's answer; return the answer's body to be sent next."""
        kept = [(name, value) for name, value in answer.head.headers if name not in HOP]
        endless = isinstance(answer.framing, Framing)
        chunked = endless and not self._is_old
        framing = ("content-length", str(answer.framing))
        if endless:
            framing = ("transfer-encoding", "chunked") if chunked else ("connection", "close")
        start = "HTTP/1.1 " + answer.head.start.split(" ", 1)[1]
        self.writer.write(head_bytes(start, [*kept, framing]))
        return ResponseBody(self.writer, chunked)

    async def say(
        self, status: int, body: bytes, kind: str = "", closes: bool = False, retry_s: int = 0
    ) -> None:
        """Send an answer of the gateway itself; `closes`: then close the connection; `retry_s`: ask the agent
        to wait before it tries again."""
        headers = [("content-type", kind or "application/json"), ("content-length", str(len(body)))]
        if closes:
            headers.append(("connection", "close"))
        if retry_s:
            headers.append(("retry-after", str(retry_s)))
        start = f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}"
        self.writer.write(head_bytes(start, headers) + body)
        await self.writer.drain()


async def read_within(seconds: float, reading: Awaitable[T]) -> T:
    """Return the result of `reading`; raise BadMessage if it takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError as exc:
        raise BadMessage(f"the request did not arrive within {seconds:.0f} s") from exc
