"""Formats words, money and times; Rich draws on a terminal; none of it reaches `--json`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

from pancode.counted import counted
from pancode.plain import clip as clip
from pancode.plain import count as count
from pancode.plain import diff_style
from pancode.plain import safe as safe
from pancode.plain import size as size
from pancode.plain import style_of as style_of
from pancode.plain import tokens as tokens
from pancode.plain import took as took
from pancode.plain import usd as usd
from pancode.plain import width as width

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def draws(stream: TextIO) -> bool:
    """Whether Rich may draw there: on a terminal that wants it. Elsewhere there are plain lines."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console(stream: TextIO) -> Console:
    """For what was made `safe` before: nothing in it is taken for markup, or for an emoji's name."""
    from rich.console import Console

    return Console(file=stream, markup=False, emoji=False, highlight=False)


def drawn(what: RenderableType, stream: TextIO, *, wraps: bool = True) -> str:
    drawing = console(stream)
    with drawing.capture() as capture:
        drawing.print(what, end="", soft_wrap=not wraps)
    return capture.get()


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """In a style of Rich's, where that may draw."""
    target = stream if stream is not None else sys.stdout
    if not style or not draws(target):
        return text
    from rich.text import Text

    return drawn(Text(text, style), target, wraps=False)


def unsettled(row: Mapping[str, Any]) -> str:
    """What a person has to say yet of a cost: runs of unknown cost, claims beyond orders."""
    unknown = [counted(row["unknown_runs"], "run")] if row["unknown_runs"] else []
    disputed = [f"{usd(row['disputed_usd'])} disputed"] if float(row["disputed_usd"]) else []
    return ", ".join([*unknown, *disputed]) or "-"


def tone(word: str) -> str:
    """A state or verdict in its colour."""
    return paint(word, style_of(word))


def patch(data: bytes, stream: TextIO) -> str:
    """A diff in colours, for a terminal: each line as it is, tabs and all."""
    from rich.segment import Segment, Segments
    from rich.style import Style

    lines = harmless(data, stream).decode("utf-8", "replace").splitlines(keepends=True)
    coloured = (Segment(line.rstrip("\n"), Style.parse(diff_style(line))) for line in lines)
    ends = (Segment("\n" if line.endswith("\n") else "") for line in lines)
    return drawn(Segments(chain.from_iterable(zip(coloured, ends, strict=True))), stream, wraps=False)


_STEERS = re.compile(
    rb"\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b\x8e\x8f\xaa-\xae]|\xe2\x81[\xa0-\xaf]|\xf3\xa0[\x80\x81][\x80-\xbf]"
    rb"|^[\x80-\x9f]|[\x00-\x08\x0b-\x1f\x7f]"
)
"""Control characters, and what turns a line around or is not seen: code that reads otherwise than it runs."""


def harmless(data: bytes, stream: TextIO) -> bytes:
    """A stranger's output as it is, but for a terminal: there what steers it is shown, not obeyed."""
    if not stream.isatty():
        return data
    return _STEERS.sub(_named, _LINES.sub(b"\n", data))


def _named(found: re.Match[bytes]) -> bytes:
    if len(found[0]) == 1:
        return b"<%s>" % found[0].hex().encode()
    return f"<U+{ord(found[0].decode()):04X}>".encode()


def safe_block(text: str) -> str:
    """Several lines of a stranger's text, each safe to print."""
    return "".join(f"{safe(line)}\n" for line in text.splitlines())


class Sink:
    """A stranger's output in pieces that may be cut anywhere: half a character waits for its other half."""

    def __init__(self, stream: TextIO, dim: str = "") -> None:
        """`dim`: how lines begin that are shown less brightly."""
        self._stream, self._half = stream, b""
        self._dim = re.compile(rb"(?m)^%s.*$" % re.escape(dim.encode())) if dim else None

    def write(self, data: bytes) -> None:
        whole = self._half + data
        at = _end_of_whole(whole) if self._stream.isatty() else len(whole)
        self._half = whole[at:]
        self._stream.flush()
        self._stream.buffer.write(self._dimmed(harmless(whole[:at], self._stream)))
        self._stream.buffer.flush()

    def _dimmed(self, data: bytes) -> bytes:
        """By pieces of whole lines alone: what is cut within one stays as it is."""
        if self._dim is None:
            return data
        return self._dim.sub(lambda found: paint(found[0].decode(), "dim", self._stream).encode(), data)


def _end_of_whole(data: bytes) -> int:
    """The start of the last character when some of its bytes are missing; else the end."""
    for back in range(1, min(4, len(data)) + 1):
        first = data[-back]
        if first >= 0xC0:
            length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            return len(data) - back if back < length else len(data)
        if first < 0x80:
            break
    return len(data)


_LINES = re.compile(rb"\r+\n?")


def advice(one: Mapping[str, Any]) -> str:
    """The fix that we know, or what the machine itself says, quoted as such; empty for neither."""
    return f"fix: {safe(one['fix'])}" if one.get("fix") else safe(one.get("says") or "")


def short_time(iso: str | None) -> str:
    """2026-11-20T08:20:24.123Z as `11-20 08:20:24`, in local time, on a terminal; else `11-20 08:20:24Z`."""
    if iso is None:
        return "-"
    if not sys.stdout.isatty():
        return f"{iso[5:19].replace('T', ' ')}Z"
    from datetime import datetime

    return f"{datetime.fromisoformat(iso).astimezone():%m-%d %H:%M:%S}"
