"""HTTP whose caller is a local process: its start and its pid stand in the place of an address."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pancode.processes import start_of

_CREDENTIALS = struct.Struct("iII")


class PeerProtocol(HttpToolsProtocol):
    """One connection on the unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = caller(transport.get_extra_info("socket"))


def caller(connection: Any) -> tuple[str, int]:
    """(start, pid) of the process that has connected. Taken now: later its pid may be another's."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return start_of(pid), pid
