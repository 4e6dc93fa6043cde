"""Draws text, colors and tables: Rich on a terminal, plain columns in a pipe; not for `--json`."""

from __future__ import annotations

import os
import re
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

from pancode.kernel.formatting import clip_columns as clip_columns
from pancode.kernel.formatting import count_noun, diff_style
from pancode.kernel.formatting import escape_line as escape_line
from pancode.kernel.formatting import format_bytes as format_bytes
from pancode.kernel.formatting import format_count as format_count
from pancode.kernel.formatting import format_seconds as format_seconds
from pancode.kernel.formatting import format_tokens as format_tokens
from pancode.kernel.formatting import format_usd as format_usd
from pancode.kernel.formatting import measure_width as measure_width
from pancode.kernel.formatting import style_of as style_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text


def can_draw(stream: TextIO) -> bool:
    """Whether Rich may draw: on a terminal that supports it. Elsewhere, output is plain lines."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def make_console(stream: TextIO) -> Console:
    """Return a console for text escaped by `escape_line`; it interprets no markup or emoji names."""
    from rich.console import Console

    return Console(file=stream, markup=False, emoji=False, highlight=False)


def draw_text(what: RenderableType, stream: TextIO, *, wraps: bool = True) -> str:
    drawing = make_console(stream)
    with drawing.capture() as capture:
        drawing.print(what, end="", soft_wrap=not wraps)
    return capture.get()


def paint_text(text: str, style: str, stream: TextIO | None = None) -> str:
    """Return the text in a Rich style, or unchanged if Rich may not draw on the stream."""
    target = stream if stream is not None else sys.stdout
    if not style or not can_draw(target):
        return text
    from rich.text import Text

    return draw_text(Text(text, style), target, wraps=False)


def known_usd(row: Mapping[str, Any]) -> str:
    """Format the cost of a row; if no part of the cost is known, return that it is unknown."""
    return "unknown" if row["unknown_runs"] and not float(row["usd"]) else format_usd(row["usd"])


def format_unsettled(row: Mapping[str, Any]) -> str:
    """Format what a user still has to settle: the number of runs of unknown cost, and disputed amounts."""
    unknown = [count_noun(row["unknown_runs"], "run")] if row["unknown_runs"] else []
    disputed = [f"{format_usd(row['disputed_usd'])} disputed"] if float(row["disputed_usd"]) else []
    return ", ".join([*unknown, *disputed]) or "-"


def color_state(word: str) -> str:
    """Return a state or verdict in its color."""
    return paint_text(word, style_of(word))


_BINARY = re.compile(
    rb"^GIT binary patch\n(literal|delta) (\d+)\n(?:.+\n)*\n(?:(?:literal|delta) (\d+)\n(?:.+\n)*\n)?",
    re.MULTILINE,
)


def shorten_binaries(data: bytes, stream: TextIO) -> bytes:
    """Return a diff for a terminal with one line for each binary file; one for a program stays as it is."""

    def words(found: re.Match[bytes]) -> bytes:
        if found[1] == b"delta":
            return b"binary file, changed\n"
        return b"binary file, %s bytes before, %s now\n" % (found[3] or b"0", found[2])

    return _BINARY.sub(words, data) if stream.isatty() else data


def color_diff(data: bytes, stream: TextIO) -> str:
    """Return a diff in colors, for a terminal; each line is unchanged, tabs included."""
    from rich.segment import Segment, Segments
    from rich.style import Style

    lines = escape_output(data, stream).decode("utf-8", "replace").splitlines(keepends=True)
    coloured = (Segment(line.rstrip("\n"), Style.parse(diff_style(line))) for line in lines)
    ends = (Segment("\n" if line.endswith("\n") else "") for line in lines)
    return draw_text(Segments(chain.from_iterable(zip(coloured, ends, strict=True))), stream, wraps=False)


_STEERS = re.compile(
    rb"\xc2[\x80-\x9f\xad]|\xcd\x8f|\xd8\x9c|\xe1\x85[\x9f\xa0]|\xe1\x9e[\xb4\xb5]|\xe1\xa0[\x8b-\x8f]"
    rb"|\xe2\x80[\x8b\x8e\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xe2\xa0\x80|\xe3\x85\xa4|\xef\xb8[\x80-\x8d]"
    rb"|\xef\xbb\xbf|\xef\xbe\xa0|\xef\xbf[\xb9-\xbb]|\xf3\xa0[\x80-\x87][\x80-\xbf]"
    rb"|^[\x80-\x9f]|[\x00-\x08\x0b-\x1f\x7f]"
)
"""Control characters, and invisible ones or those that reverse text: with them, code can look harmless.
Joiners and the two selectors of emoji (U+200C, U+200D, U+FE0E, U+FE0F) stay: ordinary text has them."""


def escape_output(data: bytes, stream: TextIO) -> bytes:
    """Return untrusted output; if it goes to a terminal, control characters are made visible."""
    if not stream.isatty():
        return data
    return _STEERS.sub(_name_char, _LINES.sub(b"\n", data))


def _name_char(found: re.Match[bytes]) -> bytes:
    if len(found[0]) == 1:
        return b"<%s>" % found[0].hex().encode()
    return f"<U+{ord(found[0].decode()):04X}>".encode()


def safe_block(text: str) -> str:
    """Return several lines of untrusted text, each safe to print."""
    return escape_lines(text.splitlines())


def escape_lines(lines: Iterable[str]) -> str:
    """Return these untrusted lines as one text, with each line escaped."""
    return "".join(f"{escape_line(line)}\n" for line in lines)


def format_facts(facts: Mapping[str, object], width: int) -> str:
    """Return a line for each known fact, with its name padded to this width."""
    return escape_lines(f"  {key:<{width}} {value}" for key, value in facts.items() if value)


def list_choices(choices: Iterable[str]) -> list[str]:
    """Return a numbered line for each choice of a question."""
    return [f"  {number}: {escape_line(one)}" for number, one in enumerate(choices, start=1)]


class Sink:
    """A writer of untrusted output in pieces cut anywhere; an incomplete character waits for the rest."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._decoder = stream, getincrementaldecoder("utf-8")("surrogateescape")

    def write(self, data: bytes) -> None:
        if self._stream.isatty():
            data = escape_output(self._decoder.decode(data).encode(errors="surrogateescape"), self._stream)
        self._stream.flush()
        self._stream.buffer.write(data)
        self._stream.buffer.flush()


_LINES = re.compile(rb"\r+\n?")


def format_advice(one: Mapping[str, Any]) -> str:
    """Return PanCode's fix, or else the node's own text; empty if there is neither."""
    return f"fix: {escape_line(one['fix'])}" if one.get("fix") else escape_line(one.get("says") or "")


def short_time(iso: str | None) -> str:
    """Format 2026-11-20T08:20:24.123Z as `11-20 08:20:24Z`; on a terminal in local time without the Z."""
    if iso is None:
        return "-"
    if not sys.stdout.isatty():
        return f"{iso[5:19].replace('T', ' ')}Z"
    from datetime import datetime

    return f"{datetime.fromisoformat(iso).astimezone():%m-%d %H:%M:%S}"


_LONG = 12
"""The least width of a column that may be folded or cut; a shorter text is never folded or cut."""
_CUT = 24
"""The width that a cut column keeps while `spare` columns can still be left out."""
_END_OF_ROW = "\x1f"
"""Separates rows in the drawn table, so that it can be split again; `escape_line` removes it from cells."""


_TONED = {"", "STATE", "OUTCOME", "VERDICT", "GRADE", "LEVEL"}
"""Headings of columns whose values are colored."""
Row = TypeVar("Row")
RowColumns = Mapping[str, str | Callable[[Row], object]]
"""Each column's heading, mapped to a field of the row or a function of the row. Fields whose names end in at,
since or usd are formatted as times or amounts."""
Columns = RowColumns[Any]
"""Columns of untyped rows."""


def format_rows(
    rows: Sequence[Row],
    columns: RowColumns[Row],
    empty: str = "",
    *,
    below: Iterable[Sequence[str]] = (),
    spare: Iterable[str] = (),
    cut: str = "",
) -> str:
    """Format rows of JSON like `format_table`; without rows, return `empty`."""
    if empty and not rows:
        return f"{empty}\n"
    cells = [[_read_cell(row, cell) for cell in columns.values()] for row in rows]
    return format_table(tuple(columns), cells, below, spare, cut)


def _read_cell(row: Row, cell: str | Callable[[Row], object]) -> object:
    if not isinstance(cell, str):
        return cell(row)
    value = row[cell] if isinstance(row, Mapping) else getattr(row, cell)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    kind = cell.rpartition("_")[2]
    if value is None or kind not in ("at", "since", "usd"):
        return value
    return format_usd(value) if kind == "usd" else short_time(value)


def format_table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    below: Iterable[Sequence[str]] = (),
    spare: Iterable[str] = (),
    cut: str = "",
) -> str:
    """Format a table with two spaces between columns. `below`: lines under each row.

    `spare`: headings of columns that a narrow terminal leaves out, with a note. `cut`: the heading of the
    column that is cut to fit, so that each row is one line. If that is not enough, each cell gets its own
    line, so that nothing is lost.
    """
    cells = [[escape_line("-" if cell is None or cell == "" else str(cell)) for cell in row] for row in rows]
    note = ""
    if can_draw(sys.stdout):
        columns = zip(head, *cells, strict=True)
        is_cut = bool(cut)
        drawn = [_Column(one, one[0] in _TONED, is_cut and one[0] == cut, not is_cut) for one in columns]
        shown, note = _fit_columns(drawn, spare)
    else:
        shown = _pad_rows([head, *cells])
    for i, lines in enumerate(below, start=1):
        shown[i] += "".join(f"{line}\n" for line in lines)
    return "".join(shown) + note


def _pad_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as padded lines; the last column is not padded."""
    widths = [max(map(measure_width, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    padded = (
        (cell + " " * (w - measure_width(cell)) for cell, w in zip(row, widths, strict=True)) for row in rows
    )
    return ["  ".join(row) + "\n" for row in padded]


class _Column(NamedTuple):
    """One column; the first cell is the head. `folds`: a long text continues on the next line."""

    cells: Sequence[str]
    is_toned: bool
    is_cut: bool
    folds: bool

    @property
    def width(self) -> int:
        return max(map(measure_width, self.cells))

    @property
    def least(self) -> int:
        return min(_LONG, self.width) if self.folds or self.is_cut else self.width


def _fit_columns(columns: list[_Column], spare: Iterable[str]) -> tuple[list[str], str]:
    """Return each row as text, the headings first, and a note that names the columns left out."""
    whole, missed = columns, list[str]()
    for title in spare:
        if _count_room(columns) >= sum(min(_CUT, one.width) - one.least for one in columns if one.is_cut):
            break
        missed.append(title)
        columns = [one for one in columns if one.cells[0] != title]
    if _count_room(columns) < 0:
        head, *rows = zip(*(one.cells for one in whole), strict=True)
        return ["", *(_record(head, row, [one.is_toned for one in whole]) for row in rows)], ""
    noun = "column" if len(missed) == 1 else "columns"
    note = paint_text(f"no room for {noun} {', '.join(missed)}: widen the terminal or pipe to cat\n", "dim")
    from rich.box import Box
    from rich.table import Table

    blank, between = "    \n", f"{_END_OF_ROW * 4}\n"
    box = Box(blank * 2 + between + blank + between + blank * 3)
    shown = Table(box=box, show_edge=False, pad_edge=False, show_lines=True, padding=(0, 1, 0, 0))
    shown.header_style = "dim"
    for one in columns:
        if one.is_cut:
            most = min(one.width, one.least + _count_room(columns))
            shown.add_column(_make_cell(one.cells[0]), overflow="ellipsis", no_wrap=True, max_width=most)
        else:
            shown.add_column(_make_cell(one.cells[0]), overflow="fold", no_wrap=one.least == one.width)
    for row in range(1, len(columns[0].cells)):
        shown.add_row(*(_make_cell(one.cells[row], one.is_toned) for one in columns))
    return re.split(rf"[^\n]*{_END_OF_ROW}[^\n]*\n", draw_text(shown, sys.stdout)), note if missed else ""


def _count_room(columns: Sequence[_Column]) -> int:
    """Return the terminal width left when each column has its least width; negative if it is too narrow."""
    needed = sum(one.least for one in columns) + 2 * (len(columns) - 1)
    return make_console(sys.stdout).width - needed


def _record(head: Sequence[str], row: Sequence[str], toned: Sequence[bool]) -> str:
    from rich.table import Table

    shown = Table.grid(padding=(0, 2, 0, 0))
    for title, cell, tone in zip(head, row, toned, strict=True):
        if cell != "-":
            shown.add_row(_make_cell(title), _make_cell(cell, tone))
    return "\n" + draw_text(shown, sys.stdout)


def _make_cell(text: str, toned: bool = False) -> Text:
    """Return the cell's text, never interpreted as markup."""
    from rich.text import Text

    return Text(text, style_of(text) if toned else "")
