"""Lets a node's connections through its tunnel, only so many at once: each takes room at the other end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncssh

MOST = 64
"""A node agent needs about five; one more for each attempt that delivers."""


@dataclass(frozen=True, slots=True)
class TlsEnd:
    """A server that wants TLS: we speak it, the node need not. `context`: asked for each connection."""

    host: str
    port: int
    context: Callable[[], ssl.SSLContext]


SHUT_S = 2.0
"""For the last words of TLS; whoever does not say them is cut off."""
End = Path | tuple[str, int] | TlsEnd
"""A unix socket, or host and port, as the coordinator reaches it."""


class Door:
    """One end that a node may reach. What is one too many is refused, and opens again as others close."""

    def __init__(self, end: End, most: int = MOST) -> None:
        self._end, self._most = end, most
        self._open = 0

    async def enter(self) -> Passing:
        """A session for asyncssh; ChannelOpenError when there is no room, or nobody answers at the end."""
        if self._open >= self._most:
            words = f"{self._open} connections are open"
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, words)
        self._open += 1
        try:
            return Passing(await _reached(self._end), self._left)
        except OSError as exc:
            self._left()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(exc)) from None

    def _left(self) -> None:
        self._open -= 1


class Passing(asyncssh.SSHForwarder):
    """One connection; says once that it has ended, whichever side ended it."""

    def __init__(self, peer: asyncssh.SSHForwarder, left: Callable[[], None]) -> None:
        super().__init__(peer)
        self._left: Callable[[], None] | None = left

    def close(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()
        super().close()


class _TlsPeer(asyncssh.SSHForwarder):
    """TLS of this library cannot close one direction alone: when the node has said all, both are closed."""

    def write_eof(self) -> None:
        if self._transport is not None:
            self._transport.close()  # what was written still goes out; then `connection_lost` ends both

    def eof_received(self) -> bool:
        super().eof_received()
        return False


async def _reached(end: End) -> asyncssh.SSHForwarder:
    loop = asyncio.get_running_loop()
    if isinstance(end, Path):
        _, peer = await loop.create_unix_connection(asyncssh.SSHForwarder, str(end))
    elif isinstance(end, TlsEnd):
        context = end.context()
        _, peer = await loop.create_connection(
            _TlsPeer, end.host, end.port, ssl=context, ssl_shutdown_timeout=SHUT_S
        )
    else:
        _, peer = await loop.create_connection(asyncssh.SSHForwarder, *end)
    return peer
