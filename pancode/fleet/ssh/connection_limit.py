"""Limits how many connections a node may open through its tunnel at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh

from pancode.fleet.ssh.forward_targets import End, TlsEnd, connect_target

MOST = 64
"""Maximum connections of a node to one service: an agent needs about five, and one for each delivery."""


class LimitedForward:
    """One service that a node may reach, with a limit of open connections; more connections are refused."""

    def __init__(self, end: End, most: int = MOST) -> None:
        self._end, self._most = end, most
        self._open = 0

    async def enter(self) -> Passing:
        """Return a session for asyncssh; ChannelOpenError: limit reached, or the service does not answer."""
        if self._open >= self._most:
            words = f"{self._open} connections are already open"
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, words)
        self._open += 1
        try:
            speaks = _TlsPeer if isinstance(self._end, TlsEnd) else asyncssh.SSHForwarder
            passing = Passing((await connect_target(self._end, speaks))[1], self._release_one)
        except OSError as exc:
            self._release_one()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(exc)) from None
        asyncio.get_running_loop().call_soon(passing.end_unless_made)
        return passing

    def _release_one(self) -> None:
        self._open -= 1


class Passing(asyncssh.SSHForwarder):
    """One connection; its end is reported once, whichever side ended it."""

    def __init__(self, peer: asyncssh.SSHForwarder, left: Callable[[], None]) -> None:
        super().__init__(peer)
        self._left: Callable[[], None] | None = left
        self._made = False

    def connection_made(self, transport: Any) -> None:
        self._made = True
        super().connection_made(transport)

    def end_unless_made(self) -> None:
        """Close a session whose connection has already ended: asyncssh drops it without closing it."""
        if not self._made:
            self.close()

    def close(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()
        super().close()


class _TlsPeer(asyncssh.SSHForwarder):
    """A TLS peer, which cannot close one direction alone: when the node ends its input, both are closed."""

    def write_eof(self) -> None:
        if self._transport is not None:
            # the write buffer is still sent; then `connection_lost` ends both directions
            self._transport.close()

    def eof_received(self) -> bool:
        super().eof_received()
        return False
