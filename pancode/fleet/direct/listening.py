"""Opens the TCP socket of an address that its owner named, and takes who comes there."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from pancode.nodes.place import ListenAddress


def listening_at(place: ListenAddress) -> socket.socket:
    """Bound and listening; OSError where the address is not this machine's, is taken, or may not be had."""
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
    """The library's own `sock_accept` loses who came in the moment in which it is cancelled."""
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
