"""Tunnels connections to one vendor's hosts by CONNECT, for logins whose key we cannot have.

TLS is not decrypted here: only the agent's program and its vendor see the content. Only bytes are counted.
Servers of many owners share addresses, so the name must be the vendor's both in CONNECT and in the first,
unencrypted message of TLS.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from node_agent.gateway.client import FIRST_S, Lobby, OpenConnection
from node_agent.gateway.counting import Count
from node_agent.gateway.http import HEAD_BYTES, BadMessage, head_bytes, read_head
from node_agent.gateway.requests import NotAllowed, Stranger
from node_agent.gateway.spec import GatewaySpec
from node_agent.gateway.upstream import DialError, Streams, dial

HELLO_BYTES = 64 << 10
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST = 22, 1, 0, 0
_HIDDEN_NAME = 0xFE0D
"""Encrypted Client Hello, with which the readable name may differ from the server's."""
_RECORD, _FRONT = 5, 4
"""The bytes of a record's head, and of a handshake message's head."""


class NotTls(Exception):
    """The bytes do not begin a TLS connection, or begin one that does not name its server."""


class _Bytes:
    """Reads fields from the front of the data. Raises NotTls if fewer bytes are left than a field has."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise NotTls("a field is longer than the message")
        self._at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def field(self, size: int) -> bytes:
        """Read a field that begins with its length, which has `size` bytes."""
        return self.take(self.number(size))

    @property
    def left(self) -> bool:
        return self._at < len(self._data)


def server_name(data: bytes) -> str | None:
    """Return the server's name; None while more bytes are needed. Raises NotTls."""
    # the ClientHello may come in several records
    hello, at = b"", 0
    while len(data) - at >= _RECORD:
        kind, size = data[at], int.from_bytes(data[at + 3 : at + _RECORD], "big")
        if kind != _HANDSHAKE or data[at + 1] != 3 or size == 0:
            raise NotTls("it is not the beginning of a TLS connection")
        hello += data[at + _RECORD : at + _RECORD + size]
        at += _RECORD + size
    if hello and hello[0] != _CLIENT_HELLO:
        raise NotTls("it is not the message that begins a TLS connection")
    size = int.from_bytes(hello[1:_FRONT], "big")
    if size > HELLO_BYTES or len(data) > 2 * HELLO_BYTES or (data and data[0] != _HANDSHAKE):
        raise NotTls("it is too long for the beginning of a TLS connection, or is not one")
    whole = len(hello) >= _FRONT and len(hello) >= _FRONT + size
    return _name_in(hello[_FRONT : _FRONT + size]) if whole else None


def _name_in(message: bytes) -> str:
    body = _Bytes(message)
    body.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session, ciphers, compressions
        body.field(size)
    extensions = _Bytes(body.field(2)) if body.left else _Bytes(b"")
    found = []
    while extensions.left:
        kind = extensions.number(2)
        inside = extensions.field(2)
        if kind == _HIDDEN_NAME:
            raise NotTls("the TLS connection hides the name of its server")
        found += [inside] if kind == _SERVER_NAME else []
    if len(found) != 1:
        raise NotTls("the TLS connection does not name its server")
    names = _Bytes(_Bytes(found[0]).field(2))
    if names.number(1) != _HOST:
        raise NotTls("the TLS connection names its server in an unknown way")
    host = names.field(2)
    if names.left:
        raise NotTls("the TLS connection names more than one server")
    return host.decode("ascii", "replace").lower()


PIECE = 64 << 10
HEAD_S = 60.0
IDLE_S = 900.0
"""Seconds without a byte after which a tunnel is closed; a model may think for minutes."""
PORT = 443
REFUSED, BAD, NO_WAY, STRANGE = "403 Forbidden", "400 Bad Request", "502 Bad Gateway", "407 Proxy Login"
MOST_OPEN = 128


def _read_password(headers: Mapping[str, str]) -> str:
    """Return the password of `Proxy-Authorization: Basic`, which programs send to log in to a proxy."""
    kind, _, word = headers.get("proxy-authorization", "").partition(" ")
    if kind.lower() != "basic":
        return ""
    with contextlib.suppress(binascii.Error, UnicodeDecodeError):
        return base64.b64decode(word, validate=True).decode().partition(":")[2]
    return ""


class ProxyTunnels:
    """All tunnels of one run. `saved` is called with the count when a connection begins and ends."""

    def __init__(self, spec: GatewaySpec, saved: Callable[[Count], None]) -> None:
        self.count = Count(usd=None, tunnelled=True)
        self._spec, self._saved = spec, saved
        self._lobby = Lobby(MOST_OPEN)

    def connection(self) -> asyncio.StreamReaderProtocol:
        """Create the protocol of a connection for an event loop's server."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=HEAD_BYTES), self._take_streams)

    async def close(self) -> None:
        """End all running connections; their bytes are counted."""
        await self._lobby.close()

    async def _take_streams(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError), self._lobby.visit(writer) as caller:
            await self._serve((reader, writer), caller)
        writer.close()
        self._saved(self.count)

    async def _serve(self, near: Streams, caller: OpenConnection) -> None:
        """Serve one connection, to its end."""
        reader, writer = near
        try:
            async with asyncio.timeout(FIRST_S):
                head = await read_head(reader)
            if head is not None:
                # determine the host that the connection may reach; raises Stranger, NotAllowed
                method, target = head.start.split(" ")[:2]
                if _read_password(dict(head.headers)) != self._spec.token:
                    raise Stranger("this is not the key that the run was given")
                if method != "CONNECT":
                    raise NotAllowed("a run by subscription may reach its vendor only by CONNECT")
                host, _, port = target.lower().rpartition(":")
                if host not in self._spec.tunnel or port != str(PORT):
                    raise NotAllowed(
                        f"{target[:200]} is not allowed, only {', '.join(sorted(self._spec.tunnel))}"
                    )
                if not self._lobby.knows(caller):
                    raise NotAllowed(
                        f"this run has {MOST_OPEN} open connections, which is the maximum: close some"
                    )
                await self._connect_tunnel(host, near)
        except Stranger as stranger:
            await _respond(writer, STRANGE, str(stranger))
        except NotAllowed as refusal:
            self._note(refused=self.count.refused + 1, words=self.count.words or str(refusal))
            await _respond(writer, REFUSED, str(refusal))
        except DialError as failed:
            self._note(failed=self.count.failed + 1)
            await _respond(writer, NO_WAY, str(failed))
        except (BadMessage, TimeoutError) as bad:
            await _respond(writer, BAD, str(bad) or "no request arrived")

    def _note(self, **changes: Any) -> None:
        self.count = replace(self.count, **changes)

    def _count_bytes(self, sent: int, received: int) -> None:
        self._note(sent=self.count.sent + sent, received=self.count.received + received)

    async def _connect_tunnel(self, host: str, near: Streams) -> None:
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
            self._count_bytes(len(first), 0)
            await self._copy_both_ways(near, far)
        finally:
            far[1].close()

    async def _copy_both_ways(self, near: Streams, far: Streams) -> None:
        """Copy bytes in both directions until one breaks off, both have ended, or none came for IDLE_S."""
        alive = asyncio.Event()
        out = asyncio.create_task(_copy_bytes(near[0], far[1], alive, lambda n: self._count_bytes(n, 0)))
        back = asyncio.create_task(_copy_bytes(far[0], near[1], alive, lambda n: self._count_bytes(0, n)))
        idle = asyncio.create_task(_wait_for_silence(alive))
        both = asyncio.create_task(_await_both(out, back))
        try:
            await asyncio.wait({both, idle}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (out, back, both, idle):
                task.cancel()
            await asyncio.gather(out, back, both, idle, return_exceptions=True)


async def _first_of(reader: asyncio.StreamReader, host: str) -> bytes:
    """Return the first bytes of TLS if they name exactly this host, else b''; hosts may share addresses."""
    data, named = b"", None
    with contextlib.suppress(NotTls, TimeoutError):
        async with asyncio.timeout(HEAD_S):
            while named is None:
                if not (piece := await reader.read(PIECE)):
                    return b""
                data += piece
                named = server_name(data)
    return data if named == host else b""


async def _await_both(out: asyncio.Task[None], back: asyncio.Task[None]) -> None:
    """Wait until both directions have ended, or one breaks off."""
    await asyncio.gather(out, back)


async def _copy_bytes(
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


async def _wait_for_silence(alive: asyncio.Event) -> None:
    """Return after IDLE_S in which no byte was copied."""
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
