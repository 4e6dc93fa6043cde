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
"""The most digits of a length: nobody sends so much, and Python makes no number of some thousands of digits.
"""
DROPPED = 8
"""The part of a body too large that is read and thrown away, as a multiple of the bound."""

TRAILERS = 100
"""The most lines after a body in chunks: a sender of endless lines would keep us busy for nothing."""

Headers = list[tuple[str, str]]
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""A lone line feed ends a line for many servers: the rest would be a header that nobody judged."""


class BadMessage(Exception):
    """The input is not HTTP, or it is not certain where a body ends."""


class TooLarge(BadMessage):
    """A body too large to be kept."""


class Gone(Exception):
    """The other side has hung up."""


class BrokenAnswer(Gone):
    """The server hung up in the middle of its answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """`start` is the first line; header names are in lower case."""

    start: str
    headers: Headers = field(default_factory=list)

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def joined(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name).lower()

    @property
    def is_old(self) -> bool:
        """Whether the message is HTTP/1.0, which knows no chunks."""
        return "HTTP/1.0" in self.start

    @property
    def closes(self) -> bool:
        """Whether the connection ends after this message."""
        options = self.joined("connection")
        return "close" in options or (self.is_old and "keep-alive" not in options)


class Framing(Enum):
    """The rule that ends a body, where its end is not a number of bytes."""

    CHUNKED = "chunked"
    TO_THE_END = "to the end"


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Read the next message's head; None when the other side has ended. BadMessage."""
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
    """Parse the bytes of a head. BadMessage."""
    start, *lines = data.lstrip(b"\r\n").decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    headers: Headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise BadMessage("a line of the head is not a header")  # unquoted: it may have the key
        headers.append((name.lower(), value.strip()))
    if len(start.split(" ", 2)) < 2 or _CONTROL.search(start):
        raise BadMessage("the first line is not one of HTTP")
    return Head(start, headers)


def framing_of(head: Head, default: int | Framing) -> int | Framing:
    """Return what ends the body. BadMessage for both ways at once, or two lengths: request smuggling."""
    lengths = {value for key, value in head.headers if key == "content-length"}
    coding = head.joined("transfer-encoding")
    if coding:
        if coding != "chunked" or lengths:
            raise BadMessage("a transfer coding that is not plain chunks")
        return Framing.CHUNKED
    if not lengths:
        return default
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit() and len(length) <= DIGITS):
        raise BadMessage("the length of the body is in doubt")
    return int(length)


async def body_of(reader: asyncio.StreamReader, framing: int | Framing) -> AsyncIterator[bytes]:
    """The body in pieces, as they come. BadMessage when it ends too early."""
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
            raise BadMessage("a chunk is longer than it says")
    for _ in range(TRAILERS):  # of which nobody makes use
        if not await _read_line(reader):
            return
    raise BadMessage("the trailers have no end")


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n"))[:-2]
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
        raise BadMessage("the body ends too early") from exc


def _parse_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > 8 or not all(byte in b"0123456789abcdefABCDEF" for byte in digits):
        raise BadMessage("not the size of a chunk")
    return int(digits, 16)


async def read_whole(reader: asyncio.StreamReader, framing: int | Framing, most: int) -> bytes:
    """Return a request's body. BadMessage; TooLarge when it has more than `most` bytes.

    The rest of a body too large is read and thrown away, within bounds, else the sender hears no answer.
    """
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
        raise TooLarge(f"the request is too large: it may have {most >> 20} MB")
    return b"".join(parts)


def head_bytes(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return a head's bytes as they are sent."""
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def encode_chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"
