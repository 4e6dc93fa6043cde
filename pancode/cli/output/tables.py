"""Tables: no wider than the terminal, and plain columns in a pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pancode.cli.output.render import console, drawn, draws, paint, safe, style_of, width

if TYPE_CHECKING:
    from rich.text import Text

_LONG = 12
"""A text of more columns may be broken where there is too little room, down to this."""
_CUT = 24
"""So much of a text that is cut is left, as long as there are columns that can be missed."""
_END_OF_ROW = "\x1f"
"""Drawn between rows, to find them again; `safe` lets none of it through."""


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    toned: Iterable[str] = (),
    below: Iterable[Sequence[str]] = (),
    spare: Iterable[str] = (),
    cut: str = "",
) -> str:
    """Columns two blanks apart. `toned`: heads in colour; `below`: lines under each row.

    `spare`: heads that a narrow terminal can miss, which it is told. `cut`: the head of a column that is cut
    where there is too little room, so that each row is one line. Where that does not help, each cell is a
    line: nothing is lost.
    """
    cells = [[safe("-" if cell is None or cell == "" else str(cell)) for cell in row] for row in rows]
    note = ""
    if draws(sys.stdout):
        shown, note = _fitted(_columns([head, *cells], set(toned), cut), spare)
    else:
        shown = _plain([head, *cells])
    for i, lines in enumerate(below, start=1):
        shown[i] += "".join(f"{line}\n" for line in lines)
    return "".join(shown) + note


def _plain(rows: Sequence[Sequence[str]]) -> list[str]:
    """The last column ends where its text ends."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    padded = [[cell + " " * (w - width(cell)) for cell, w in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(row) + "\n" for row in padded]


class _Column(NamedTuple):
    """The head first. `folds`: a long text goes on in the next line."""

    cells: Sequence[str]
    is_toned: bool
    is_cut: bool
    folds: bool

    @property
    def width(self) -> int:
        return max(map(width, self.cells))

    @property
    def least(self) -> int:
        return min(_LONG, self.width) if self.folds or self.is_cut else self.width


def _columns(rows: Sequence[Sequence[str]], toned: set[str], cut: str) -> list[_Column]:
    return [
        _Column(cells, cells[0] in toned, bool(cut) and cells[0] == cut, folds=not cut)
        for cells in zip(*rows, strict=True)
    ]


def _fitted(columns: list[_Column], spare: Iterable[str]) -> tuple[list[str], str]:
    """Each row, the head first, and a last line that names the columns left out."""
    whole, missed = columns, list[str]()
    for title in spare:
        if _room(columns) >= sum(min(_CUT, one.width) - one.least for one in columns if one.is_cut):
            break
        missed.append(title)
        columns = [one for one in columns if one.cells[0] != title]
    if _room(columns) < 0:
        head, *rows = zip(*(one.cells for one in whole), strict=True)
        return ["", *(_record(head, row, [one.is_toned for one in whole]) for row in rows)], ""
    note = paint(f"no room for {', '.join(missed)}: make the terminal wider, or | cat\n", "dim")
    return _drawn(columns), note if missed else ""


def _room(columns: Sequence[_Column]) -> int:
    """The width of the terminal beyond the least width of the columns; negative where they do not fit."""
    needed = sum(one.least for one in columns) + 2 * (len(columns) - 1)
    return console(sys.stdout).width - needed


def _drawn(columns: Sequence[_Column]) -> list[str]:
    from rich.box import Box
    from rich.table import Table

    blank, between = "    \n", f"{_END_OF_ROW * 4}\n"
    box = Box(blank * 2 + between + blank + between + blank * 3)
    shown = Table(box=box, show_edge=False, pad_edge=False, show_lines=True, padding=(0, 1, 0, 0))
    shown.header_style = "dim"
    for one in columns:
        if one.is_cut:
            most = min(one.width, one.least + _room(columns))
            shown.add_column(_cell(one.cells[0]), overflow="ellipsis", no_wrap=True, max_width=most)
        else:
            shown.add_column(_cell(one.cells[0]), overflow="fold", no_wrap=one.least == one.width)
    for row in range(1, len(columns[0].cells)):
        shown.add_row(*(_cell(one.cells[row], one.is_toned) for one in columns))
    return re.split(rf"[^\n]*{_END_OF_ROW}[^\n]*\n", drawn(shown, sys.stdout))


def _record(head: Sequence[str], row: Sequence[str], toned: Sequence[bool]) -> str:
    from rich.table import Table

    shown = Table.grid(padding=(0, 2, 0, 0))
    for title, cell, tone in zip(head, row, toned, strict=True):
        if cell != "-":
            shown.add_row(_cell(title), _cell(cell, tone))
    return "\n" + drawn(shown, sys.stdout)


def _cell(text: str, toned: bool = False) -> Text:
    """Never markup."""
    from rich.text import Text

    return Text(text, style_of(text) if toned else "")
