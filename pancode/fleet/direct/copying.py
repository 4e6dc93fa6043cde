"""Copies bytes between a node and its destination, both ways, until one of them has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from pancode.fleet.ssh.forward_targets import SHUT_S, End, reached

PIECE = 1 << 16
Seen = Callable[[bytes], None]
"""Looks at each piece before it goes on; what it raises ends the connection."""


def spoken() -> tuple[asyncio.StreamReader, asyncio.StreamReaderProtocol]:
    """A reader for a connection of this event loop, and the protocol that fills it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(PIECE, loop)
    return reader, asyncio.StreamReaderProtocol(reader, loop=loop)


async def opened(end: End) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of our own to what lies behind. OSError."""
    reader, protocol = spoken()
    transport, _ = await reached(end, lambda: protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen | None = None) -> None:
    while piece := await reader.read(PIECE):
        if seen is not None:
            seen(piece)
        writer.write(piece)
        await writer.drain()


async def both(*ways: Coroutine[Any, Any, None]) -> None:
    """Until one way has ended, and with its fault: TLS of this library cannot close one direction alone."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Sends the bytes that were written, within a time, unless the wait is cancelled."""
    writer.close()
    try:
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 2 * SHUT_S)
    finally:
        writer.transport.abort()
