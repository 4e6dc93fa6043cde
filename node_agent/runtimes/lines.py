"""Splits a growing byte stream into JSON objects, with bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from node_agent.wire.model import MOST

MOST_AT_ONCE, MOST_USD = 10**12, 10**9
"""The largest plausible count, and sum, in one message of a program; larger numbers are false."""
BLANKS = " \t\n\r\x0b\x0c"
"""The bytes that `bytes.strip` removes from both ends."""
MOST_SHOWN = 4_000
"""The most characters of a change, or of a tool's answer, that are shown to users."""
LINE_CAP = 16 << 20
"""The maximum bytes of a line; a longer line is dropped. Real programs were seen to write lines of 270 KB."""


class JsonLines:
    """Reads bytes split anywhere, and yields each whole line that is a JSON object, with numbers as Decimal.

    `lines` counts all nonblank lines, `unreadable` those without an object. `end_at`: the length of the
    stream up to the end of the newest object's line.
    """

    def __init__(self, cap: int = LINE_CAP) -> None:
        self._rest = bytearray()
        self._cap = cap
        self._skipping = False
        self.lines = 0
        self.unreadable = 0
        self.end_at = self._since = 0

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the objects whose lines this chunk completes. Exhaust the iterator before the next call."""
        first, *lines = chunk.split(b"\n")
        size = self._since + len(first) + 1
        if not lines:
            self._since += len(first)
            self._keep(first)
            return
        if self._rest or self._skipping:
            self._keep(first)
            first = bytes(self._rest)
            self._rest.clear()
        last = lines.pop()
        self._since = len(last)
        for line in (first, *lines):
            self.end_at += size or len(line) + 1
            size = 0
            if self._skipping or len(line) > self._cap:
                self._skipping = False
                value = None
            elif (value := _parse_line(line)) is None and (not line or line.isspace()):
                continue
            self.lines += 1
            if value is None:
                self.unreadable += 1
            else:
                yield value
        self._keep(last)

    def end(self) -> Iterator[dict[str, Any]]:
        """Yield the object of the last line if the program omitted the newline after it."""
        yield from self.feed(b"\n")

    def _keep(self, piece: bytes) -> None:
        if not self._skipping:
            self._rest += piece
        if len(self._rest) > self._cap:
            self._skipping = True
            self._rest.clear()


_SCAN: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder(parse_float=Decimal))["scan_once"]
"""A decoder that is made once: `json.loads` with an option makes one per line, which takes longer than to
parse a short line."""


def _parse_line(data: bytes) -> dict[str, Any] | None:
    """Return the object in the line; None if there is none. Most lines are one value from first byte to last;
    only others are stripped."""
    try:
        text = data.decode("utf-8", "surrogatepass")
        try:
            value, end = _SCAN(text, 0)
        except StopIteration:  # no value begins at this position
            value, end = None, -1
        if end != len(text):
            text = text.strip(BLANKS)
            value, end = _SCAN(text, 0)
    except (ValueError, RecursionError, StopIteration):  # a UnicodeDecodeError is a ValueError
        return None
    return value if end == len(text) and isinstance(value, dict) else None


def text_of(value: Any, default: str = "") -> str:
    """Return the value if it is a string, else `default`: programs send null or numbers where text is
    documented. Half a surrogate pair, which JSON allows but UTF-8 does not, becomes `?`."""
    if not isinstance(value, str):
        return default
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def count_of(value: Any) -> int:
    """Return the value if it is a plausible count, otherwise 0: a program may report any number."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= MOST_AT_ONCE else 0


def total_of(*counts: int) -> int:
    """Return the sum, at most the largest number that the wire format allows."""
    return min(sum(counts), MOST)


def dict_of(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """Return the value if it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []


def answer_of(value: Any) -> str:
    """Return the start and the end of a tool's answer, which is a text or a list of blocks with texts."""
    blocks = [text_of(dict_of(one).get("text")) for one in list_of(value)]
    return cut_middle(text_of(value) or "\n".join(filter(None, blocks)), MOST_SHOWN)


def cut_middle(text: str, most: int) -> str:
    """Return the text; of a longer one, its first quarter and its end, where a command tells what failed."""
    return text if len(text) <= most else f"{text[: most // 4]}\n...\n{text[len(text) - most * 3 // 4 :]}"


def exit_of(value: Any) -> int | None:
    """Return the exit status; None if the value is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and -255 <= value <= 255 else None


_OLD = ("old_string", "oldString", "old_str", "old")
_NEW = ("new_string", "newString", "new_str", "new", "content", "file_text")


def diff_of(given: Mapping[str, Any]) -> str:
    """Return the removed and added lines of an edit from its arguments, by the names that programs use."""
    old, new = (
        next((text for key in keys if (text := text_of(given.get(key)))), "").splitlines()
        for keys in (_OLD, _NEW)
    )
    return begin_of_diff(old, new)


def begin_of_diff(old: Sequence[str], new: Sequence[str]) -> str:
    """Return the removed and added lines, each with its sign, up to the stream's limit."""
    lines = [f"{sign}{line}" for sign, side in (("-", old), ("+", new)) for line in side]
    return "\n".join(lines)[:MOST_SHOWN]


def usd_of(value: Any) -> Decimal | None:
    """Return the dollars, rounded to a billionth; None for a value that is not an amount. Programs add up
    binary floats (0.018930000000000002); a billionth of a dollar is below every price."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        amount = Decimal(value)
        exact = amount.quantize(Decimal("1e-9"))
    except ArithmeticError:
        return None
    if not amount.is_finite() or not 0 <= amount <= MOST_USD:
        return None
    return Decimal(format(exact.normalize(), "f"))
