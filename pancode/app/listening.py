"""Opens the TCP socket of an address from the configuration, and accepts connections."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from pancode.fleet.place import ListenAddress


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
