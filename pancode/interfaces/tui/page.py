"""A page as a value: rows or lines of text, times as a user reads them, and how both fit into a width."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pancode.kernel.formatting import (
    clip_columns,
    draw_glyph,
    escape_line,
    format_seconds,
    measure_width,
    style_of,
)

Json = Mapping[str, Any]
Span = tuple[str, str]
"""A text without control characters, and its style."""
Line = tuple[Span, ...]
PREVIEW = 120
"""Columns of a terminal that has room for a preview beside a list."""
_MOST, _LEAST, _GAP, NAMES = 40, 24, 2, 11
"""Columns: the most of a cell, the least of the cut cell, the gap between cells, and of a fact's name."""


@dataclass(frozen=True, slots=True)
class PagePlace:
    """A view, and the name of the thing that it shows."""

    view: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class PageRow:
    """One row of a table. `key`: the thing's id; `kind`: run, node, workflow, item ...; `shape`: its JSON."""

    key: str
    kind: str
    cells: tuple[str, ...]
    shape: Json = field(default_factory=dict)
    enters: PagePlace | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page. `above` stays in sight; below it stand the rows of a table, or else lines that scroll.

    `spare`: heads that a narrow terminal leaves out, in this order. `cut`: the column that gets what room is
    left. `empty`: what a table without rows says. `shape`: JSON of the thing that the page shows.
    """

    above: tuple[Line, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[PageRow, ...] = ()
    spare: tuple[str, ...] = ()
    cut: str = ""
    empty: str = ""
    lines: tuple[Line, ...] = ()
    shape: Json = field(default_factory=dict)


def make_line(text: object, style: str = "") -> Line:
    """Return one line of foreign text, made safe."""
    return ((escape_line(str(text)), style),)


def make_fact_line(name: str, text: object, style: str = "") -> Line:
    """Return a line with a name and its value."""
    return ((f"{name:<{NAMES}}", "dim"), (escape_line(str(text)), style))


def is_fact_line(one: Line) -> bool:
    return bool(one) and one[0][1] == "dim" and measure_width(one[0][0]) == NAMES


def text_of(one: Line) -> str:
    return "".join(text for text, _ in one)


def filter_rows(page: Page, word: str) -> Page:
    """Return the page with only the lines, and the rows by id or text, that contain the word in any case."""
    if not word:
        return page
    wanted = word.casefold()
    rows = tuple(
        row
        for row in page.rows
        if row.kind != "heading" and wanted in " ".join((row.key, *row.cells)).casefold()
    )
    lines = tuple(one for one in page.lines if wanted in text_of(one).casefold())
    return Page(page.above, page.head, rows, page.spare, page.cut, f"nothing has {word!r}", lines, page.shape)


_UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_FIGURE = re.compile(rf"\$?(\d+(?:\.\d+)?)%?(?: ({'|'.join(_UNITS)}))?")


def sort_rows(page: Page, column: str, down: bool) -> Page:
    """Return the page sorted by this column: sums, shares and times by size, all else as text.

    Rows without a value are last in both directions. A page without the column stays as it is.
    """
    if column not in page.head or any(row.kind == "heading" for row in page.rows):
        return page
    at = page.head.index(column)

    def rank(row: PageRow) -> tuple[int, float, str]:
        cell = row.cells[at].strip()
        figure = _FIGURE.fullmatch(cell)
        size = float(figure[1]) * _UNITS.get(figure[2] or "", 1) if figure is not None else 0.0
        return 0 if figure is not None else 1, size, cell.casefold()

    told = [row for row in page.rows if row.cells[at].strip() not in ("", "-")]
    silent = [row for row in page.rows if row.cells[at].strip() in ("", "-")]
    told.sort(key=rank, reverse=down)
    marked = tuple(f"{name} {'▼' if down else '▲'}" if name == column else name for name in page.head)
    spare = tuple(dict(zip(page.head, marked, strict=True))[name] for name in page.spare)
    cut = marked[page.head.index(page.cut)] if page.cut in page.head else page.cut
    return replace(page, head=marked, rows=(*told, *silent), spare=spare, cut=cut)


Cell = tuple[str, str]
"""The text of one cell, and its style."""


def laid_out(page: Page, columns: int) -> tuple[list[Cell], list[int], list[list[Cell]]]:
    """The heads, the widths, and the rows, which together are not wider than so many columns."""
    cells = [page.head, *(_shown_cells(page.head, row) for row in page.rows)]
    # Only columns for which there is room are kept.
    kept = list(range(len(page.head)))
    for title in page.spare:
        needed = sum(_least(page, cells, at) for at in kept) + _GAP * (len(kept) - 1)
        if needed <= columns:
            break
        kept.remove(page.head.index(title))
    widths = _widths(page, cells, kept, columns)
    gaps = {at: _GAP if page.head[at] else 1 for at in kept[:-1]}
    full = [widths[at] + gaps.get(at, 0) for at in kept]
    rows = [
        _draw_heading(row, kept, full)
        if row.kind == "heading"
        else [(clip_columns(told[at], widths[at]), _style(page.head[at], row.cells[at])) for at in kept]
        for row, told in zip(page.rows, cells[1:], strict=True)
    ]
    return [(clip_columns(page.head[at], widths[at]), "bold") for at in kept], full, rows


def _shown_cells(head: Sequence[str], row: PageRow) -> tuple[str, ...]:
    """The cells as text; of a state its shape, which under an empty head stands alone."""
    if row.kind == "heading":
        return row.cells
    shown = [escape_line(cell) or "-" for cell in row.cells]
    for at, name in enumerate(head):
        if not name:
            shown[at] = draw_glyph(row.cells[at])
        elif name.partition(" ")[0] in ("STATE", "KIND") and (shape := draw_glyph(row.cells[at])) != "·":
            shown[at] = f"{shape} {shown[at]}"
    return tuple(shown)


def _style(head: str, cell: str) -> str:
    return "magenta" if cell == "unknown" and not head else style_of(cell)


def _draw_heading(row: PageRow, kept: Sequence[int], widths: Sequence[int]) -> list[Cell]:
    """A hairline with the name of the group, and at its end the number of its rows."""
    cells = list[Cell]()
    for at, width in zip(kept, widths, strict=True):
        text = "─ " if at == kept[0] else f"{row.cells[at]} " if row.cells[at] and at != kept[-1] else ""
        end = f" {row.cells[-1]}" if at == kept[-1] else ""
        line = text + "─" * (width - len(text) - len(end)) + end
        cells.append((line, row.shape["style"] if len(text) > 2 else "dim"))
    return cells


def _least(page: Page, cells: Sequence[Sequence[str]], at: int) -> int:
    most = _LEAST if page.head[at] == page.cut else _MOST
    return min(most, max(measure_width(row[at]) for row in cells))


def _widths(page: Page, cells: Sequence[Sequence[str]], kept: list[int], columns: int) -> dict[int, int]:
    widths = {at: _least(page, cells, at) for at in kept}
    room = columns - sum(widths.values()) - _GAP * (len(kept) - 1)
    for at in kept:
        if page.head[at] == page.cut and room > 0:
            widths[at] += min(room, max(measure_width(row[at]) for row in cells) - widths[at])
    while room < 0 and widths:
        widest = max(widths, key=lambda at: widths[at])
        if widths[widest] <= 4:
            break
        widths[widest] -= 1
        room += 1
    return widths


@dataclass(frozen=True, slots=True)
class PageMoment:
    """For what a page is made: the moment in the user's time zone, the size of the terminal, and whether the
    coordinator is away."""

    now: datetime
    width: int = 80
    height: int = 24
    away: bool = False

    @property
    def list_width(self) -> int:
        """Columns of a list, beside which a wide terminal has a preview."""
        return self.width - (self.width * 2 // 5 if self.width >= PREVIEW else 0)

    @classmethod
    def of(cls, wall_ms: int) -> PageMoment:
        return cls(datetime.fromtimestamp(wall_ms / 1000).astimezone())

    def at(self, iso: str | None) -> str:
        """`08:20:24` today, `11-20 08:20` on another day, `-` for None."""
        if iso is None:
            return "-"
        then = datetime.fromisoformat(iso).astimezone(self.now.tzinfo)
        return then.strftime("%H:%M:%S" if then.date() == self.now.date() else "%m-%d %H:%M")

    def since_s(self, iso: str | None) -> float | None:
        """Seconds from then until now, never below 0; None for None."""
        if iso is None:
            return None
        return max(0.0, (self.now - datetime.fromisoformat(iso)).total_seconds())

    def ago(self, iso: str | None) -> str:
        seconds = self.since_s(iso)
        return "-" if seconds is None else format_span(seconds)

    def between(self, begin: str | None, end: str | None) -> str:
        """Return how long something took, or has taken until now; `-` where it has not begun."""
        if begin is None:
            return "-"
        if end is None:
            return self.ago(begin)
        return format_span((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())


def format_span(seconds: float) -> str:
    """As `format_seconds`, in whole seconds, because a page is drawn each second."""
    return format_seconds(int(seconds))


def spread_line(columns: int, left: Line, right: Line = ()) -> Line:
    """Return a line of this width; if there is too little room, the left side is cut."""
    room = max(0, columns - measure_width(text_of(right)))
    kept: list[Span] = []
    for words, style in left:
        cut = clip_columns(words, room) if room >= 3 else ""
        kept.append((cut, style))
        room -= measure_width(cut)
        if cut != words:
            break
    return (*kept, (" " * max(0, room), ""), *right)
