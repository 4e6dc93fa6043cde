"""Lets a node's connections through its tunnel, only so many at once: each takes room at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncssh

MOST = 64
"""A node agent needs about five; one more for each attempt that delivers."""

End = Path | tuple[str, int]
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


async def _reached(end: End) -> asyncssh.SSHForwarder:
    loop = asyncio.get_running_loop()
    if isinstance(end, Path):
        _, peer = await loop.create_unix_connection(asyncssh.SSHForwarder, str(end))
    else:
        _, peer = await loop.create_connection(asyncssh.SSHForwarder, *end)
    return peer
