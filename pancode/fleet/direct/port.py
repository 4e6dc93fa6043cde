"""Listens at one address, and limits the connections that have not logged in yet."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address

from pancode.fleet.direct.listener import make_stream_pair, next_of
from pancode.fleet.place import ListenAddress
from pancode.fleet.ssh.forward_targets import SHUT_S
from pancode.kernel.host.open_files import is_spare, read_limit

WAITING = 128
"""How many connections may be in the handshake at once, each an open file. One more closes the oldest: a node
needs only a moment, so a stranger cannot occupy all places for long."""
HANDSHAKE_S = 10.0
AGAIN_S = 1.0
TURNED_S = 0.05
"""Seconds between two connections that are refused, so that a flood takes no time from connected nodes."""
_BACKLOG = 1024
Enter = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Callable[[], None]], Awaitable[None]]
"""Serves one connection after the handshake, until its end; calls its last argument once it is accepted."""


class Port:
    """The listening port, open in `async with`. At exit, connections continue; handshakes are aborted."""

    def __init__(
        self, place: ListenAddress, context: ssl.SSLContext, enter: Enter, short: Callable[[str], None]
    ) -> None:
        """`short` is called with the reason why connections are refused, and with "" once one is accepted."""
        self._place, self._context, self._enter, self._short = place, context, enter, short
        self._listening: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._waiting: dict[asyncio.Task[None], None] = {}
        """The connections in the handshake, the oldest first."""
        self._all: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Port:
        """Open the port. Raises OSError if that is not possible."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            self._place.host, self._place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._listening.append(_open_listener(family, address))
        except BaseException:
            self._shut()
            raise
        self._accepting = [loop.create_task(self._accept_peers(one)) for one in self._listening]
        return self

    async def __aexit__(self, *raised: object) -> None:
        ending = (*self._accepting, *self._waiting)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._shut()

    def _shut(self) -> None:
        for one in self._listening:
            one.close()
        self._listening = []

    async def _accept_peers(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await next_of(listening)
            except OSError as exc:  # the client disconnected, or no file descriptor is free
                if exc.errno in (errno.EMFILE, errno.ENFILE):
                    self._short(_too_many())
                await asyncio.sleep(AGAIN_S)
                continue
            if is_spare(sock.fileno()):
                self._short(_too_many())
                sock.close()
                await asyncio.sleep(TURNED_S)
                continue
            self._short("")
            task = loop.create_task(self._serve_peer(sock))
            self._all.add(task)
            self._waiting[task] = None
            task.add_done_callback(self._forget_task)
            # A task that was cancelled before its first step has not closed its connection's socket.
            task.add_done_callback(lambda ended, made=sock: made.close() if ended.cancelled() else None)  # type: ignore[misc]
            if len(self._waiting) > WAITING:
                eldest = next(iter(self._waiting))
                self._waiting.pop(eldest)  # the task takes a moment to end, so it is cancelled only once
                eldest.cancel()
            # Accepting never waits while there is a queue, but the accepted connections must get a chance to
            # start.
            await asyncio.sleep(0)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self._all.discard(task)
        self._waiting.pop(task, None)

    async def _serve_peer(self, sock: socket.socket) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        reader, protocol = make_stream_pair()
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=SHUT_S,
            )
        except (OSError, asyncio.CancelledError):
            with suppress(OSError):  # during a handshake the library may still have the socket open
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        await self._enter(reader, writer, lambda: self._waiting.pop(task, None))


def _too_many() -> str:
    return f"the coordinator is near its limit of {read_limit()} open files"


def _open_listener(family: int, address: tuple[object, ...]) -> socket.socket:
    # a host name or `0` may resolve to the wildcard address
    if ip_address(str(address[0]).partition("%")[0]).is_unspecified:
        raise OSError("nodes cannot connect to the wildcard address that it specifies")
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made
