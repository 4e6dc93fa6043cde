"""Reads the server name from the first, unencrypted message of a TLS connection. Pure.

Servers of many owners share addresses: a name that only CONNECT has said would lead to any of them.
"""

from __future__ import annotations

MOST = 64 << 10
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST = 22, 1, 0, 0
_HIDDEN_NAME = 0xFE0D
"""Encrypted Client Hello: the name that is readable may then be that of another server."""
_RECORD, _FRONT = 5, 4
"""Bytes of the head of a record, and of a handshake message."""


class NotTls(Exception):
    """These bytes begin no TLS connection, or one that does not say for whom."""


class _Bytes:
    """Takes fields off the front. NotTls when there are fewer bytes than a field has."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise NotTls("a field is longer than the message")
        self._at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def field(self, size: int) -> bytes:
        """Reads a field that begins with its length, in so many bytes."""
        return self.take(self.number(size))

    @property
    def left(self) -> bool:
        return self._at < len(self._data)


def server_name(data: bytes) -> str | None:
    """The name; None while more bytes are needed to know it. NotTls."""
    message = _message(data)
    return None if message is None else _name_in(message)


def _message(data: bytes) -> bytes | None:
    """The ClientHello, which may come in several records; None while it is not whole."""
    hello, at = b"", 0
    while len(data) - at >= _RECORD:
        kind, size = data[at], int.from_bytes(data[at + 3 : at + _RECORD], "big")
        if kind != _HANDSHAKE or data[at + 1] != 3 or size == 0:
            raise NotTls("not the beginning of a TLS connection")
        hello += data[at + _RECORD : at + _RECORD + size]
        at += _RECORD + size
    if hello and hello[0] != _CLIENT_HELLO:
        raise NotTls("not the message that begins a TLS connection")
    size = int.from_bytes(hello[1:_FRONT], "big")
    if size > MOST or len(data) > 2 * MOST or (data and data[0] != _HANDSHAKE):
        raise NotTls("too long for the beginning of a TLS connection, or none")
    whole = len(hello) >= _FRONT and len(hello) >= _FRONT + size
    return hello[_FRONT : _FRONT + size] if whole else None


def _name_in(message: bytes) -> str:
    body = _Bytes(message)
    body.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session, ciphers, compressions
        body.field(size)
    extensions = _Bytes(body.field(2)) if body.left else _Bytes(b"")
    found = []
    while extensions.left:
        kind = extensions.number(2)
        inside = extensions.field(2)
        if kind == _HIDDEN_NAME:
            raise NotTls("it hides for which server it is")
        found += [inside] if kind == _SERVER_NAME else []
    if len(found) != 1:
        raise NotTls("it does not say for which server it is")
    names = _Bytes(_Bytes(found[0]).field(2))
    if names.number(1) != _HOST:
        raise NotTls("it names its server in no way that is known")
    host = names.field(2)
    if names.left:
        raise NotTls("it names more than one server")
    return host.decode("ascii", "replace").lower()
