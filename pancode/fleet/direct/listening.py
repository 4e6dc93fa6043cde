"""Opens the TCP socket of an address that its owner named."""

from __future__ import annotations

import socket

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
