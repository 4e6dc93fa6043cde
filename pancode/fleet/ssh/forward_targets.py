"""Connects nodes to the coordinator's services: Redis, which may be on another host, and the depot."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pancode.kernel.host.open_files import is_spare

SHUT_S = 2.0
"""Seconds for an orderly end of TLS; a peer that takes longer is disconnected."""


@dataclass(frozen=True, slots=True)
class TlsEnd:
    """A server that requires TLS; the coordinator adds it for the node. `context`: called per connection."""

    host: str
    port: int
    context: Callable[[], ssl.SSLContext]


End = Path | tuple[str, int] | TlsEnd
"""A unix socket, or host and port, as the coordinator reaches it."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def connect_target(end: End, made: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    """Connect to the target, with the protocol from `made`. OSError, also if no file descriptors are free."""
    transport, speaks = await _connect_end(end, made)
    if is_spare(transport.get_extra_info("socket").fileno()):
        transport.abort()
        raise OSError(errno.EMFILE, f"the coordinator has {os.strerror(errno.EMFILE).lower()}")
    return transport, speaks


async def _connect_end(end: End, made: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    loop = asyncio.get_running_loop()
    if isinstance(end, Path):
        return await loop.create_unix_connection(made, str(end))
    if isinstance(end, TlsEnd):
        context = end.context()
        return await loop.create_connection(
            made, end.host, end.port, ssl=context, ssl_shutdown_timeout=SHUT_S
        )
    return await loop.create_connection(made, *end)
