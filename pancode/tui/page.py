"""A page as a value: rows or lines of text, and how a table fits into a width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pancode.plain import clip, safe, style_of, width

Json = Mapping[str, Any]
Span = tuple[str, str]
"""A text, which holds no control character, and its style."""
Line = tuple[Span, ...]
_MOST, _LEAST, _GAP = 40, 24, 2
"""Columns of a cell at most, columns of the cut cell at least, blanks between two cells."""


@dataclass(frozen=True, slots=True)
class PagePlace:
    """A view, and the thing that it shows."""

    view: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class PageRow:
    """One thing in a table. `key`: its id; `kind`: run, node, workflow, item ...; `shape`: its JSON."""

    key: str
    kind: str
    cells: tuple[str, ...]
    shape: Json = field(default_factory=dict)
    enters: PagePlace | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`above` stays in sight. Below it stand the rows of a table, or else lines that scroll.

    `spare`: heads that a narrow terminal can miss, the first one first. `cut`: the column that takes what
    room is left. `empty`: what a table without rows says. `shape`: JSON of the thing that the page shows.
    """

    above: tuple[Line, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[PageRow, ...] = ()
    spare: tuple[str, ...] = ()
    cut: str = ""
    empty: str = ""
    lines: tuple[Line, ...] = ()
    shape: Json = field(default_factory=dict)


def line(text: object, style: str = "") -> Line:
    """One line of foreign text."""
    return ((safe(str(text)), style),)


def fact(name: str, text: object, style: str = "") -> Line:
    """A name and its value."""
    return ((f"{name:<11}", "dim"), (safe(str(text)), style))


def text_of(one: Line) -> str:
    return "".join(text for text, _ in one)


def filtered(page: Page, word: str) -> Page:
    """The rows, or lines, that contain the word; upper and lower case are the same."""
    if not word:
        return page
    wanted = word.casefold()
    rows = tuple(row for row in page.rows if wanted in " ".join(row.cells).casefold())
    lines = tuple(one for one in page.lines if wanted in text_of(one).casefold())
    return Page(page.above, page.head, rows, page.spare, page.cut, f"nothing has {word!r}", lines, page.shape)


def laid_out(page: Page, columns: int) -> tuple[Line, list[Line]]:
    """The line of heads, and a line for each row, none wider than so many columns."""
    cells = [page.head, *(tuple(safe(cell) or "-" for cell in row.cells) for row in page.rows)]
    kept = _kept(page, cells, columns)
    widths = _widths(page, cells, kept, columns)
    lines = [_line(row, kept, widths, page) for row in cells]
    head = tuple((text, "bold") for text, _ in lines[0])
    return head, lines[1:]


def _kept(page: Page, cells: Sequence[Sequence[str]], columns: int) -> list[int]:
    """The columns for which there is room."""
    kept = list(range(len(page.head)))
    for title in page.spare:
        needed = sum(_least(page, cells, at) for at in kept) + _GAP * (len(kept) - 1)
        if needed <= columns:
            break
        kept.remove(page.head.index(title))
    return kept


def _natural(cells: Sequence[Sequence[str]], at: int) -> int:
    return min(_MOST, max(width(row[at]) for row in cells))


def _least(page: Page, cells: Sequence[Sequence[str]], at: int) -> int:
    if page.head[at] == page.cut:
        return min(_LEAST, max(width(row[at]) for row in cells))
    return _natural(cells, at)


def _widths(page: Page, cells: Sequence[Sequence[str]], kept: list[int], columns: int) -> dict[int, int]:
    widths = {at: _least(page, cells, at) for at in kept}
    room = columns - sum(widths.values()) - _GAP * (len(kept) - 1)
    for at in kept:
        if page.head[at] == page.cut and room > 0:
            widths[at] += min(room, max(width(row[at]) for row in cells) - widths[at])
    while room < 0 and widths:
        widest = max(widths, key=lambda at: widths[at])
        if widths[widest] <= 4:
            break
        widths[widest] -= 1
        room += 1
    return widths


def _line(row: Sequence[str], kept: list[int], widths: Mapping[int, int], page: Page) -> Line:
    spans: list[Span] = []
    for number, at in enumerate(kept):
        text = clip(row[at], widths[at])
        last = number == len(kept) - 1
        padded = text if last else text + " " * (widths[at] - width(text) + _GAP)
        spans.append((padded, style_of(row[at])))
    return tuple(spans)
