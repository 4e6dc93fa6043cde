"""Watches a node's connection to Redis until its first login: reads each command's name as Redis does."""

from __future__ import annotations

import re

_HEAD = re.compile(rb"([*$])([0-9]{1,10})\r\n")
_LINE_MAX = 14
_END = len(b"\r\n")
LEAVING = frozenset({b"AUTH", b"HELLO", b"RESET"})
"""Each makes the connection another user's. No right of Redis forbids them: they go before a login."""
_NAME_MAX = max(map(len, LEAVING))


class LoginError(ConnectionError):
    """The input is not a command that may pass here."""


class OneLogin:
    """Looks at all that is said behind the login's user, in whatever pieces it comes; keeps nothing of it.

    A command that is forbidden never passes whole, so it is not carried out.
    """

    def __init__(self) -> None:
        self._words = 1
        """Still to come of this command; first the password."""
        self._body = 0
        """Bytes still to come of this word, its line's end too."""
        self._line = b""
        self._naming = False
        self._name = b""

    def look(self, piece: bytes) -> None:
        """LoginError for a login, a change of the protocol, and what is not in the shape that clients use."""
        at = 0
        while at < len(piece):
            at = self._through(piece, at) if self._body else self._headed(piece, at)

    def _through(self, piece: bytes, at: int) -> int:
        step = min(self._body, len(piece) - at)
        if self._naming:
            self._name += piece[at : at + step]
        self._body -= step
        if not self._body and self._naming:
            self._naming = False
            if self._name[:-_END].upper() in LEAVING:
                raise LoginError(f"{self._name[:-_END].decode()} after the login")
        return at + step

    def _headed(self, piece: bytes, at: int) -> int:
        end = piece.find(b"\n", at) + 1
        self._line += piece[at : end or at + _LINE_MAX]
        if end:
            self._begin(_HEAD.fullmatch(self._line))
            self._line = b""
        elif len(self._line) >= _LINE_MAX:
            self._begin(None)
        return end or len(piece)

    def _begin(self, head: re.Match[bytes] | None) -> None:
        """Strictly: where Redis could take it otherwise than we do, it does not pass."""
        if head is None or (head[1] == b"$") != bool(self._words):
            raise LoginError("no command in the shape that Redis' clients use")
        if head[1] == b"*":
            self._words, self._naming, self._name = int(head[2]), True, b""
            return
        self._words -= 1
        self._body = int(head[2]) + _END
        self._naming = self._naming and self._body <= _NAME_MAX + _END
