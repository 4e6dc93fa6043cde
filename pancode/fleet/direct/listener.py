"""Opens the TCP socket of an address from the configuration, and accepts connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from pancode.fleet.place import ListenAddress
from pancode.fleet.ssh.forward_targets import SHUT_S, End, connect_target

PIECE = 1 << 16
Seen = Callable[[bytes], None]
"""Checks each piece before it is passed on; an exception ends the connection."""


def make_stream_pair() -> tuple[asyncio.StreamReader, asyncio.StreamReaderProtocol]:
    """Return a reader for a connection of this event loop, and the protocol that fills it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(PIECE, loop)
    return reader, asyncio.StreamReaderProtocol(reader, loop=loop)


async def connect_stream(end: End) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the service at this end. Raises OSError."""
    reader, protocol = make_stream_pair()
    transport, _ = await connect_target(end, lambda: protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


async def copy_stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen | None = None
) -> None:
    while piece := await reader.read(PIECE):
        if seen is not None:
            seen(piece)
        writer.write(piece)
        await writer.drain()


async def run_both(*ways: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, and raise its error: this TLS library cannot close only one direction."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def close_writer(writer: asyncio.StreamWriter) -> None:
    """Send the writer's buffer, within a time limit, and close it, even if the wait is cancelled."""
    writer.close()
    try:
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 2 * SHUT_S)
    finally:
        writer.transport.abort()


def listening_at(place: ListenAddress) -> socket.socket:
    """Return a socket that listens at `place`; OSError if the address is not local, in use or not allowed."""
    family, kind, proto, _, address = socket.getaddrinfo(
        place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, proto)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made


async def next_of(listening: socket.socket) -> tuple[socket.socket, Any]:
    """Return the next connection; unlike `sock_accept`, none is lost that arrives during a cancellation."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            made, peer = listening.accept()
        except (BlockingIOError, InterruptedError):
            came = asyncio.Event()
            loop.add_reader(listening, came.set)
            try:
                await came.wait()
            finally:
                loop.remove_reader(listening)
        else:
            made.setblocking(False)
            return made, peer
