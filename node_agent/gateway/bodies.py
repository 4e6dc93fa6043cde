"""Decides how large a request may be, and how many of them may be in memory at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from node_agent.gateway.http import Framing, TooLarge
from node_agent.gateway.meter import Wire
from node_agent.gateway.routes import RequestTarget

MB = 1 << 20
LARGEST: dict[Wire, int] = {
    Wire.ANTHROPIC: 32 * MB,
    Wire.CHAT: 32 * MB,
    Wire.RESPONSES: 32 * MB,
    Wire.GEMINI: 20 * MB,
    Wire.OLLAMA: 32 * MB,
}
"""The vendors' own limits, as far as they are known; the longest request that was seen has 2 MB."""
SMALL = MB
"""The bound of a request that only reads, and needs no body."""
IN_MEMORY = 64 * MB
"""Of all requests under way together; others wait unread."""
MOST_VALUES = 250_000
"""Each takes up to 250 bytes when it is read, however short it is written."""
_BEGINNINGS = (b",", b"[", b"{")
_QUOTES_EACH = 4
"""A value with its name may be two strings."""


def largest(target: RequestTarget) -> int:
    """In bytes."""
    return LARGEST[target.route.wire] if target.method == "POST" else SMALL


def check_values(body: bytes) -> None:
    """TooLarge for more values than can be read at a bearable price. Never counts too few of JSON."""
    if _marks(body) <= MOST_VALUES:
        return
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # what is left of quotes begins or ends a string
    if bare.count(b'"') > _QUOTES_EACH * MOST_VALUES or _marks(b"".join(bare.split(b'"')[::2])) > MOST_VALUES:
        raise TooLarge(f"the request has more than {MOST_VALUES} JSON values")


def _marks(text: bytes) -> int:
    """Each value, but for the outermost, comes behind one of these."""
    return sum(text.count(mark) for mark in _BEGINNINGS)


class Room:
    """Lets requests in while all of them together fit."""

    def __init__(self, size: int = IN_MEMORY) -> None:
        self._free = size
        self._freed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def of(self, framing: int | Framing, most: int) -> AsyncIterator[None]:
        """While a body is in memory; one that does not tell its size counts as the largest."""
        size = min(framing, most) if isinstance(framing, int) else most
        while self._free < size:
            await self._freed.wait()
        self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._freed.set()
            self._freed = asyncio.Event()
