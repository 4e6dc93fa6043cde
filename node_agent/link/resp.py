"""Redis' own language as bytes, answers out of bytes, by the kept parser in C. No IO.

The library above that parser is a fifth of an idle node agent: it brings asyncio, clusters and telemetry,
of which a node uses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis

Words = Sequence[str | int | bytes]

LONGEST = 64 * 2**20
"""Bytes of one answer: eight times the largest order."""


class RedisError(Exception):
    """No answer, or one that we do not want; the text says which."""


class Refused(RedisError):
    """The server's own error; its first word is a code."""

    @property
    def is_login(self) -> bool:
        """It does not know us, or not this password."""
        return str(self).partition(" ")[0] in ("WRONGPASS", "NOAUTH")


class Lost(RedisError):
    """The connection is of no use any more."""


_MORE = object()


class _Strange(Exception):
    """What the parser makes of bytes that are no answer."""


def packed(words: Words) -> bytes:
    """One command. Text goes as UTF-8; UnicodeEncodeError for what has none."""
    data: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its stub names one word's type
    return data


class Answers:
    """Reads answers, however the bytes are cut. `more`: the next of them; its errors pass through."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._next = more
        self._reader = hiredis.Reader(protocolError=_Strange, replyError=Refused, notEnoughData=_MORE)

    def pending(self) -> bool:
        """Whether a part of the next answer has come with the last one."""
        return self._reader.has_data()

    def hear(self) -> Any:
        """The next: bytes, int, None, a list of such, or a Refused, which is returned. Lost."""
        fed = 0
        while (answer := self._read()) is _MORE:
            piece = self._next()
            if not piece:
                raise Lost("it has hung up")
            fed += len(piece)
            if fed > LONGEST:
                raise Lost(f"it sends an answer of more than {LONGEST} bytes")
            self._reader.feed(piece)
        if answer is None or isinstance(answer, bytes | int | list | Refused):
            return answer
        raise Lost(f"it does not speak as Redis does: {type(answer).__name__} for an answer")

    def _read(self) -> Any:
        try:
            return self._reader.gets()
        except _Strange as exc:
            raise Lost(f"it does not speak as Redis does: {exc}") from exc
