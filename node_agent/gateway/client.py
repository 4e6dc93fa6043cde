"""The agent's side of the gateway: reads bounded requests, writes answers, notices a hang-up at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from node_agent.gateway.admission import FIRST_S
from node_agent.gateway.http import (
    HEAD_BYTES,
    LAST_CHUNK,
    BadMessage,
    Framing,
    Head,
    body_of,
    chunk,
    framing_of,
    head_bytes,
    read_head,
    read_whole,
)
from node_agent.gateway.routes import HOP
from node_agent.gateway.upstream import UpstreamResponse

T = TypeVar("T")
READ_S = 60.0
"""For a whole body."""
DROPPED_BYTES, DROP_S = 1 << 20, 5.0
"""So much of a refused body is read and thrown away: whoever hangs up on a sender is not heard."""
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 413: "Content Too Large", 502: "Bad Gateway"}


class ResponseBody:
    """An answer's body on its way to the agent; the last piece is held until `end`."""

    def __init__(self, writer: asyncio.StreamWriter, chunked: bool) -> None:
        self._writer, self._chunked = writer, chunked
        self._pending = b""

    async def send(self, piece: bytes) -> None:
        if self._chunked:
            self._writer.write(chunk(piece))
        else:
            self._writer.write(self._pending)
            self._pending = piece
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(LAST_CHUNK if self._chunked else self._pending)
        await self._writer.drain()


class AgentConnection(asyncio.StreamReaderProtocol):
    """One connection, which notices at once that the agent has hung up, also while it waits for an answer."""

    def __init__(self, serve: Callable[[AgentClient], Awaitable[None]]) -> None:
        self._client: AgentClient | None = None
        super().__init__(asyncio.StreamReader(limit=HEAD_BYTES), self._begun)
        self._serve = serve

    async def _begun(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = AgentClient(reader, writer)
        await self._serve(self._client)

    def eof_received(self) -> bool | None:
        kept = super().eof_received()
        self._over()
        return kept

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._over()

    def _over(self) -> None:
        if self._client is not None:
            self._client.hung_up()


class AgentClient:
    """The agent's end of a connection. `is_known`: it has shown the key, and may keep silent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._working: asyncio.Task[Any] | None = None
        self.is_known = self._is_old = False

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """While it waits for us: should it hang up, our own task is cancelled."""
        self._working = asyncio.current_task()
        try:
            yield
        finally:
            self._working = None

    def hung_up(self) -> None:
        if self._working is not None:
            self._working.cancel()

    async def next(self) -> Head | None:
        """The next request's head; None where there is none to come. BadMessage."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self.is_known else FIRST_S):
                head = await read_head(self._reader)
                self._is_old = head is not None and head.is_old
                return head
        return None

    async def body(self, head: Head, most: int) -> bytes:
        """Whole. TooLarge, BadMessage."""
        if "100-continue" in head.joined("expect"):
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await within(READ_S, read_whole(self._reader, framing_of(head, 0), most))

    async def drop(self, head: Head) -> None:
        """A body that nobody wants, within bounds; the connection is of no more use then."""
        if "100-continue" not in head.joined("expect"):
            with contextlib.suppress(BadMessage):
                await within(DROP_S, self._drop(framing_of(head, 0)))

    async def _drop(self, framing: int | Framing) -> None:
        size = 0
        async for piece in body_of(self._reader, framing):
            size += len(piece)
            if size > DROPPED_BYTES:
                return

    async def begin(self, answer: UpstreamResponse) -> ResponseBody:
        """The head of the server's answer, its body to follow."""
        kept = [(name, value) for name, value in answer.head.headers if name not in HOP]
        endless = isinstance(answer.framing, Framing)
        chunked = endless and not self._is_old
        framing = ("content-length", str(answer.framing))
        if endless:
            framing = ("transfer-encoding", "chunked") if chunked else ("connection", "close")
        start = "HTTP/1.1 " + answer.head.start.split(" ", 1)[1]
        self.writer.write(head_bytes(start, [*kept, framing]))
        return ResponseBody(self.writer, chunked)

    async def say(self, status: int, body: bytes, kind: str = "", closes: bool = False) -> None:
        """Words of our own."""
        headers = [("content-type", kind or "application/json"), ("content-length", str(len(body)))]
        if closes:
            headers.append(("connection", "close"))
        start = f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}"
        self.writer.write(head_bytes(start, headers) + body)
        await self.writer.drain()


async def within(seconds: float, reading: Awaitable[T]) -> T:
    """BadMessage when it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError as exc:
        raise BadMessage(f"the request did not come within {seconds:.0f} s") from exc
