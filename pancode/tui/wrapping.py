"""Breaks long lines at blanks, so that whole texts can be read in a narrow window."""

from __future__ import annotations

from collections.abc import Iterable

from pancode.plain import width
from pancode.tui.page import Line, Span, text_of

_NAMES = 11
"""Columns of the name of a fact; what follows it is kept to its right."""


def wrapped(lines: Iterable[Line], columns: int) -> list[Line]:
    """Each line as one or more, none wider than so many columns."""
    return [part for one in lines for part in _parts(one, max(columns, 20))]


def _parts(one: Line, columns: int) -> list[Line]:
    text = text_of(one)
    if width(text) <= columns:
        return [one]
    indent = _NAMES if one[0][1] == "dim" and width(one[0][0]) == _NAMES else 2
    parts, begin, room = list[Line](), 0, columns
    while begin < len(text):
        end = _end(text, begin, room)
        lead: Line = ((" " * indent, ""),) if begin else ()
        parts.append((*lead, *_cut(one, begin, end)))
        begin, room = end, columns - indent
    return parts


def _end(text: str, begin: int, room: int) -> int:
    """The end of this part: after the last blank that fits, else in the middle of a word."""
    used, blank = 0, 0
    for at in range(begin, len(text)):
        used += width(text[at])
        if used > room:
            return blank or max(at, begin + 1)
        if text[at] == " ":
            blank = at + 1
    return len(text)


def _cut(one: Line, begin: int, end: int) -> tuple[Span, ...]:
    spans, at = list[Span](), 0
    for text, style in one:
        piece = text[max(0, begin - at) : max(0, end - at)]
        at += len(text)
        if piece:
            spans.append((piece, style))
    return tuple(spans)
