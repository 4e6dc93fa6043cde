"""Free ports of the loopback, for servers that must be told a port."""

from __future__ import annotations

import socket


def find_free_port() -> int:
    """A TCP port that no socket holds now; another process may take it before the caller does."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
