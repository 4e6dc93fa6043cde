"""Tables: no wider than the terminal, and plain columns in a pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pancode.cli.render import console, drawn, draws, paint, safe, style_of, width

if TYPE_CHECKING:
    from rich.text import Text

_LONG = 12
"""A text of more columns may be broken where there is too little room, down to this."""
_END_OF_ROW = "\x1f"
"""Drawn between rows, to find them again; `safe` lets none of it through."""


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    toned: Iterable[str] = (),
    below: Iterable[Sequence[str]] = (),
    spare: Iterable[str] = (),
) -> str:
    """Columns two blanks apart. `toned`: heads in colour; `below`: lines under each row.

    `spare`: heads that a narrow terminal can miss, which it is told. Where that does not help, each cell is a
    line: nothing is lost.
    """
    cells = [[safe("-" if cell is None or cell == "" else str(cell)) for cell in row] for row in rows]
    note = ""
    if draws(sys.stdout):
        shown, note = _fitted([head, *cells], [title in set(toned) for title in head], spare)
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


def _fitted(
    rows: Sequence[Sequence[str]], toned: Sequence[bool], spare: Iterable[str]
) -> tuple[list[str], str]:
    """Each row, the head first, and a last line that names the columns left out."""
    columns = [(column, tone) for column, tone in zip(zip(*rows, strict=True), toned, strict=True)]
    missed: list[str] = []
    for title in spare:
        if not _is_too_wide(columns):
            break
        missed.append(title)
        columns = [one for one in columns if one[0][0] != title]
    if _is_too_wide(columns):
        return ["", *(_record(rows[0], row, toned) for row in rows[1:])], ""
    note = paint(f"no room for {', '.join(missed)}: make the terminal wider, or | cat\n", "dim")
    return _drawn(columns), note if missed else ""


_Column = tuple[Sequence[str], bool]
"""Its cells, the head first, and whether they have colours."""


def _is_too_wide(columns: Sequence[_Column]) -> bool:
    least = sum(min(_LONG, max(map(width, cells))) for cells, _ in columns)
    return least + 2 * (len(columns) - 1) > console(sys.stdout).width


def _drawn(columns: Sequence[_Column]) -> list[str]:
    from rich.box import Box
    from rich.table import Table

    blank, between = "    \n", f"{_END_OF_ROW * 4}\n"
    box = Box(blank * 2 + between + blank + between + blank * 3)
    shown = Table(box=box, show_edge=False, pad_edge=False, show_lines=True, padding=(0, 1, 0, 0))
    shown.header_style = "dim"
    for cells, _ in columns:
        shown.add_column(_cell(cells[0]), overflow="fold", no_wrap=max(map(width, cells)) <= _LONG)
    for row in range(1, len(columns[0][0])):
        shown.add_row(*(_cell(cells[row], toned) for cells, toned in columns))
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
