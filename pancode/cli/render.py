"""How things look: small tables, ages, money, colour on a terminal only; nothing of this reaches `--json`."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}
_GOOD = {"done", "online", "PASS", "passed", "yes"}
_BAD = {
    "error", "verify_failed", "infra", "lost", "timeout", "stalled", "policy_violation", "budget_exceeded",
    "failed", "TAMPERED", "UNSIGNED", "UNKNOWN_KEY", "NOT_FOUND", "unreachable", "refused",
}  # fmt: skip
_WARN = {
    "blocked", "interrupted", "suspect", "draining", "drained", "halted", "interrupting", "new", "warning",
    "unknown",
}  # fmt: skip


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Coloured where the stream is a terminal that wants it (NO_COLOR, TERM=dumb)."""
    target = stream if stream is not None else sys.stdout
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not target.isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def tone(word: str) -> str:
    """A state or verdict in its colour."""
    for words, colour in ((_GOOD, "green"), (_BAD, "red"), (_WARN, "yellow")):
        if word in words:
            return paint(word, colour)
    return word


def safe(text: str) -> str:
    """One line that cannot steer the terminal: control characters are shown, not obeyed."""
    return "".join(_shown(c) for c in text)


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


class Sink:
    """A stranger's output in pieces that may be cut anywhere: half a character waits for its other half."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._half = stream, b""

    def write(self, data: bytes) -> None:
        whole = self._half + data
        at = _end_of_whole(whole) if self._stream.isatty() else len(whole)
        self._half = whole[at:]
        self._stream.flush()
        self._stream.buffer.write(harmless(whole[:at], self._stream))
        self._stream.buffer.flush()


def _end_of_whole(data: bytes) -> int:
    """Where the last character begins of which bytes are missing; else the end."""
    for back in range(1, min(4, len(data)) + 1):
        first = data[-back]
        if first >= 0xC0:
            length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            return len(data) - back if back < length else len(data)
        if first < 0x80:
            break
    return len(data)


_LINES = re.compile(rb"\r+\n?")


def _shown(char: str) -> str:
    if char in "\r\n\t":
        return " "
    return f"\\x{ord(char):02x}" if unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs") else char


def advice(one: Mapping[str, Any]) -> str:
    """The fix that we know, or what the machine itself says, quoted as such; empty for neither."""
    return f"fix: {safe(one['fix'])}" if one.get("fix") else safe(one.get("says") or "")


def width(text: str) -> int:
    """Columns that the text takes; wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def clip(text: str, columns: int) -> str:
    """At most so many columns, with `...` where something was cut."""
    if width(text) <= columns:
        return text
    kept = ""
    for char in text:
        if width(kept + char) > columns - 3:
            break
        kept += char
    return kept + "..."


def table(head: Sequence[str], rows: Iterable[Sequence[object]], toned: Iterable[str] = ()) -> str:
    """Columns by width, two blanks apart; the last one ends where its text ends. `toned`: heads in colour."""
    cells = [[safe("-" if cell is None or cell == "" else str(cell)) for cell in row] for row in rows]
    widths = [max([width(title), *(width(row[i]) for row in cells)]) for i, title in enumerate(head)]
    coloured = {i for i, title in enumerate(head) if title in set(toned)}
    lines = [_line(head, widths, set(), bold=True)]
    lines += [_line(row, widths, coloured, bold=False) for row in cells]
    return "\n".join(lines) + "\n"


def _line(row: Sequence[str], widths: Sequence[int], coloured: set[int], *, bold: bool) -> str:
    parts = []
    for i, cell in enumerate(row):
        pad = "" if i == len(row) - 1 else " " * (widths[i] - width(cell))
        text = paint(cell, "dim") if bold else tone(cell) if i in coloured else cell
        parts.append(text + pad)
    return "  ".join(parts)


def usd(text: str | None) -> str:
    """Money as a person reads it; what is not known is said so."""
    if text is None:
        return "unknown"
    whole, _, part = text.partition(".")
    part = part.rstrip("0").ljust(2, "0")
    return f"-${whole[1:]}.{part}" if whole.startswith("-") else f"${whole}.{part}"


def count(number: float) -> str:
    """3100 is 3.1 k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f}"


def size(number: int | None) -> str:
    """Bytes: 82 G."""
    if number is None:
        return "-"
    for power, unit in ((2**40, "T"), (2**30, "G"), (2**20, "M"), (2**10, "k")):
        if number >= power:
            return f"{number / power:.0f} {unit}"
    return f"{number} B"


def tokens(number: int | None) -> str:
    """Of a context: 32k, 4k, 900; empty where it is not known."""
    if number is None:
        return ""
    return f"{number // 1024}k" if number >= 1024 else str(number)


def took(seconds: float) -> str:
    """00:12, 01:02:03, 3d 04:00."""
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    clock = (
        f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
        if hours or days
        else f"{rest // 60:02d}:{rest % 60:02d}"
    )
    return f"{days}d {clock}" if days else clock


def short_time(iso: str | None) -> str:
    """2026-11-20T08:20:24.123Z as `11-20 08:20:24`: in local time on a terminal, else in UTC."""
    if iso is None:
        return "-"
    if sys.stdout.isatty():
        from datetime import datetime

        iso = datetime.fromisoformat(iso).astimezone().isoformat()
    return iso[5:19].replace("T", " ")


def zone() -> str:
    """What stands beside times of `short_time`: nothing where they are local."""
    return "" if sys.stdout.isatty() else " UTC"


def at_head() -> str:
    """The head of a column of times."""
    return "AT" if sys.stdout.isatty() else "AT (UTC)"
