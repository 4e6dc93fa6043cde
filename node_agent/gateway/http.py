"""The part of HTTP/1.1 that a gateway needs: heads, and bodies by length, in chunks or to the end. Strict."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from enum import Enum

HEAD_BYTES = 64 << 10
PIECE = 64 << 10
DIGITS = 15
"""The maximum number of digits of a length: real ones have fewer, and Python refuses thousands of digits."""
DROPPED = 8
"""The amount of a too large body that is read and discarded, as a multiple of the limit."""

TRAILERS = 100
"""The maximum number of lines after a chunked body, so that an endless sender cannot keep us busy."""

Headers = list[tuple[str, str]]
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Many servers end a line at a lone line feed: the rest would be a header that was not checked."""


class BadMessage(Exception):
    """The input is not HTTP, or the end of a body cannot be determined."""


class TooLarge(BadMessage):
    """A body that is too large to be stored."""


class Gone(Exception):
    """The other side has disconnected."""


class BrokenAnswer(Gone):
    """The server disconnected in the middle of its answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a message. `start` is the first line; header names are in lower case."""

    start: str
    headers: Headers = field(default_factory=list)

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def joined(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name).lower()

    @property
    def is_old(self) -> bool:
        """Whether the message is HTTP/1.0, which does not support chunks."""
        return "HTTP/1.0" in self.start

    @property
    def closes(self) -> bool:
        """Whether the connection closes after this message."""
        options = self.joined("connection")
        return "close" in options or (self.is_old and "keep-alive" not in options)


class Framing(Enum):
    """The rule that ends a body whose length in bytes is not stated."""

    CHUNKED = "chunked"
    TO_THE_END = "to the end"


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Read the next message's head; None if the other side has closed the connection. Raises BadMessage."""
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as exc:
        if not exc.partial.strip():
            return None
        raise BadMessage("the head ends too early") from exc
    except asyncio.LimitOverrunError as exc:
        raise BadMessage("the head is too long") from exc
    except OSError:
        return None
    return parse_head(data)


def parse_head(data: bytes) -> Head:
    """Parse the bytes of a head. Raises BadMessage."""
    start, *lines = data.lstrip(b"\r\n").decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    headers: Headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
            # the line is not quoted, because it may contain the key
            raise BadMessage("a line of the head is not a valid header")
        headers.append((name.lower(), value.strip()))
    if len(start.split(" ", 2)) < 2 or _CONTROL.search(start):
        raise BadMessage("the first line is not valid HTTP")
    return Head(start, headers)


def framing_of(head: Head, default: int | Framing) -> int | Framing:
    """Return how the body ends. BadMessage for both ways or two lengths, which allow request smuggling."""
    lengths = {value for key, value in head.headers if key == "content-length"}
    coding = head.joined("transfer-encoding")
    if coding:
        if coding != "chunked" or lengths:
            raise BadMessage("the transfer coding is not plain chunks")
        return Framing.CHUNKED
    if not lengths:
        return default
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit() and len(length) <= DIGITS):
        raise BadMessage("the length of the body is ambiguous or invalid")
    return int(length)


async def body_of(reader: asyncio.StreamReader, framing: int | Framing) -> AsyncIterator[bytes]:
    """Yield the body in pieces as they arrive. Raises BadMessage if it ends too early."""
    if isinstance(framing, int):
        pieces = _read_exactly(reader, framing)
    else:
        pieces = _read_chunks(reader) if framing is Framing.CHUNKED else _to_the_end(reader)
    async for piece in pieces:
        yield piece


async def _to_the_end(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(PIECE):
        yield piece


async def _read_exactly(reader: asyncio.StreamReader, left: int) -> AsyncIterator[bytes]:
    while left > 0:
        piece = await reader.read(min(PIECE, left))
        if not piece:
            raise BadMessage("the body ends too early")
        left -= len(piece)
        yield piece


async def _read_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := _parse_size(await _read_line(reader)):
        async for piece in _read_exactly(reader, size):
            yield piece
        if await _read_line(reader):
            raise BadMessage("a chunk is longer than its stated size")
    for _ in range(TRAILERS):  # trailers are ignored
        if not await _read_line(reader):
            return
    raise BadMessage("there are too many trailers")


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n"))[:-2]
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
        raise BadMessage("the body ends too early") from exc


def _parse_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > 8 or not all(byte in b"0123456789abcdefABCDEF" for byte in digits):
        raise BadMessage("invalid chunk size")
    return int(digits, 16)


async def read_whole(reader: asyncio.StreamReader, framing: int | Framing, most: int) -> bytes:
    """Return a request's body. Raises BadMessage, or TooLarge if it has more than `most` bytes. The rest of a
    too large body is read and discarded, within limits, so that the sender can read the answer."""
    parts, size = [], 0
    async for piece in body_of(reader, framing):
        size += len(piece)
        if size <= most:
            parts.append(piece)
        else:
            parts.clear()
        if size > DROPPED * most:
            break
    if size > most:
        raise TooLarge(f"the request is too large: it may have at most {most >> 20} MB")
    return b"".join(parts)


def head_bytes(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return a head as bytes to send."""
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def encode_chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"
