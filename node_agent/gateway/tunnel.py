"""Carries connections to one vendor's hosts by CONNECT: for a login whose key we cannot hold.

TLS is not opened here: what is said is between the agent's program and its vendor. Bytes are counted, and
nothing else; no other name is led anywhere, neither that of the CONNECT nor the one that TLS begins with.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from node_agent.gateway.admission import FIRST_S, Lobby, OpenConnection
from node_agent.gateway.counting import Count
from node_agent.gateway.dialing import DialError, Streams, dial
from node_agent.gateway.hello import NotTls, server_name
from node_agent.gateway.http import HEAD_BYTES, BadMessage, Head, head_bytes, read_head
from node_agent.gateway.routes import NotAllowed, Stranger
from node_agent.gateway.spec import GatewaySpec

PIECE = 64 << 10
HEAD_S = 60.0
IDLE_S = 900.0
"""A tunnel through which nothing went for so long is over; a model thinks for minutes."""
PORT = 443
REFUSED, BAD, NO_WAY, STRANGE = "403 Forbidden", "400 Bad Request", "502 Bad Gateway", "407 Proxy Login"
MOST_OPEN = 128


def host_of(head: Head, token: str, hosts: Collection[str]) -> str:
    """The host to which it may go. Raises Stranger, NotAllowed."""
    method, target = head.start.split(" ")[:2]
    if _shown(dict(head.headers)) != token:
        raise Stranger("this is not the key that the run was given")
    if method != "CONNECT":
        raise NotAllowed("a run by subscription reaches its vendor by CONNECT alone")
    host, _, port = target.lower().rpartition(":")
    if host not in hosts or port != str(PORT):
        raise NotAllowed(f"{target[:200]} is not among {', '.join(sorted(hosts))}")
    return host


def _shown(headers: Mapping[str, str]) -> str:
    """The password of `Proxy-Authorization: Basic`, where programs put what stands in their proxy's URL."""
    kind, _, word = headers.get("proxy-authorization", "").partition(" ")
    if kind.lower() != "basic":
        return ""
    with contextlib.suppress(binascii.Error, UnicodeDecodeError):
        return base64.b64decode(word, validate=True).decode().partition(":")[2]
    return ""


class ProxyTunnels:
    """All connections of one run, as `Gateway` has them. `saved` is called as each begins and ends."""

    def __init__(self, spec: GatewaySpec, saved: Callable[[Count], None]) -> None:
        self.count = Count(usd=None, tunnelled=True)
        self._spec, self._saved = spec, saved
        self._lobby = Lobby(MOST_OPEN)

    def connection(self) -> asyncio.StreamReaderProtocol:
        """For each that comes in: what an event loop's server asks for."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=HEAD_BYTES), self._begun)

    async def close(self) -> None:
        """End what is under way; its bytes are counted."""
        await self._lobby.close()

    async def _begun(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError), self._lobby.visit(writer) as caller:
            await self._serve((reader, writer), caller)
        writer.close()
        self._saved(self.count)

    async def _serve(self, near: Streams, caller: OpenConnection) -> None:
        """One connection, to its end."""
        reader, writer = near
        try:
            async with asyncio.timeout(FIRST_S):
                head = await read_head(reader)
            if head is not None:
                host = host_of(head, self._spec.token, self._spec.tunnel)
                if not self._lobby.knows(caller):
                    raise NotAllowed(f"this run has {MOST_OPEN} connections open: close some")
                await self._to(host, near)
        except Stranger as stranger:
            await _respond(writer, STRANGE, str(stranger))
        except NotAllowed as refusal:
            self._note(refused=self.count.refused + 1, words=self.count.words or str(refusal))
            await _respond(writer, REFUSED, str(refusal))
        except DialError as failed:
            self._note(failed=self.count.failed + 1)
            await _respond(writer, NO_WAY, str(failed))
        except (BadMessage, TimeoutError) as bad:
            await _respond(writer, BAD, str(bad) or "no word came")

    def _note(self, **changes: Any) -> None:
        self.count = replace(self.count, **changes)

    def _went(self, sent: int, received: int) -> None:
        self._note(sent=self.count.sent + sent, received=self.count.received + received)

    async def _to(self, host: str, near: Streams) -> None:
        far = await dial(host, PORT, self._spec.way, None)
        self._note(requests=self.count.requests + 1)
        self._saved(self.count)
        try:
            near[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await near[1].drain()
            first = await _first_of(near[0], host)
            if not first:
                return self._note(refused=self.count.refused + 1)
            far[1].write(first)
            self._went(len(first), 0)
            await self._carry(near, far)
        finally:
            far[1].close()

    async def _carry(self, near: Streams, far: Streams) -> None:
        """Both ways, until one end breaks off, both have said all, or nobody has said anything for long."""
        alive = asyncio.Event()
        out = asyncio.create_task(_pour(near[0], far[1], alive, lambda n: self._went(n, 0)))
        back = asyncio.create_task(_pour(far[0], near[1], alive, lambda n: self._went(0, n)))
        idle = asyncio.create_task(_silence(alive))
        both = asyncio.create_task(_both(out, back))
        try:
            await asyncio.wait({both, idle}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (out, back, both, idle):
                task.cancel()
            await asyncio.gather(out, back, both, idle, return_exceptions=True)


async def _first_of(reader: asyncio.StreamReader, host: str) -> bytes:
    """The beginning of TLS for this very host; empty for anything else: its address serves others, too."""
    data, named = b"", None
    with contextlib.suppress(NotTls, TimeoutError):
        async with asyncio.timeout(HEAD_S):
            while named is None:
                if not (piece := await reader.read(PIECE)):
                    return b""
                data += piece
                named = server_name(data)
    return data if named == host else b""


async def _both(out: asyncio.Task[None], back: asyncio.Task[None]) -> None:
    """Until both are over, or one breaks off."""
    await asyncio.gather(out, back)


async def _pour(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    alive: asyncio.Event,
    moved: Callable[[int], None],
) -> None:
    while piece := await source.read(PIECE):
        alive.set()
        sink.write(piece)
        moved(len(piece))
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()


async def _silence(alive: asyncio.Event) -> None:
    """Comes to its end after IDLE_S without a byte."""
    with contextlib.suppress(TimeoutError):
        while True:
            alive.clear()
            async with asyncio.timeout(IDLE_S):
                await alive.wait()


async def _respond(writer: asyncio.StreamWriter, status: str, words: str) -> None:
    body = f"PanCode: {words}\n".encode()
    headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
    if status == STRANGE:
        headers.append(("proxy-authenticate", 'Basic realm="PanCode"'))
    writer.write(head_bytes(f"HTTP/1.1 {status}", headers) + body)
    await writer.drain()
