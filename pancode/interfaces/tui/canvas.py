"""The part of the screen that shows a page or a log: a table with a marked row, or a text that scrolls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.coordinate import Coordinate
from textual.widgets import DataTable, RichLog

from pancode.interfaces.tui.bars import Bar, render_block, render_text
from pancode.interfaces.tui.log_reader import MOST, LogReader
from pancode.interfaces.tui.page import Cell, Line, Page, PageRow, filter_rows, laid_out, make_line
from pancode.interfaces.tui.prose import ProseText

ERROR = re.compile(r"\b(error|failed|failure|fatal|panic|exception|traceback|\w+error)\b", re.IGNORECASE)
"""What a line says that a reader of a log looks for."""


class RowTable(DataTable[Text]):
    """The rows of a page. The mark stays on its row, and its row on its line, when the page changes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("g,home", "scroll_top", show=False),
        Binding("G,end", "scroll_bottom", show=False),
        Binding("ctrl+b", "page_up", show=False),
        Binding("ctrl+f", "page_down", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, cell_padding=0)
        self._told: tuple[list[Cell], list[int], list[list[Cell]]] | None = None
        self.marked: set[str] = set()
        self.entries: tuple[PageRow, ...] = ()

    @property
    def entry(self) -> PageRow | None:
        return self.entries[self.cursor_row] if 0 <= self.cursor_row < len(self.entries) else None

    def watch_cursor_coordinate(self, old: Coordinate, new: Coordinate) -> None:
        """Pass over a heading, on to the next row in the same direction."""
        super().watch_cursor_coordinate(old, new)
        if self.entry is not None and self.entry.kind == "heading" and len(self.entries) > 1:
            step = -1 if 0 < new.row < old.row or new.row == len(self.entries) - 1 else 1
            self.move_cursor(row=new.row + step)

    def show(self, page: Page, key: str, columns: int) -> None:
        """Show the rows, and mark the one of this key; empty: the one that is marked already."""
        heads, widths, rows = laid_out(page, columns - 1)
        heads, widths = [("", ""), *heads], [1, *widths]
        gutter = [("+" if row.key in self.marked else "", "bold cyan") for row in page.rows]
        rows = [[cell, *row] for cell, row in zip(gutter, rows, strict=True)]
        old, top = self.cursor_row, self.scroll_offset.y
        marked = key or (self.entry.key if self.entry is not None else "")
        if (heads, widths, rows) != self._told:
            self.entries = ()
            self.clear(columns=True)
            for (text, style), width in zip(heads, widths, strict=True):
                self.add_column(Text(text, style), width=width)
            self.add_rows([Text(*cell, no_wrap=True) for cell in row] for row in rows)
        self._told = (heads, widths, rows)
        self.entries = page.rows
        self.show_header = not any(row.kind == "heading" for row in page.rows)
        keys = [row.key for row in page.rows]
        at = keys.index(marked) if marked in keys else max(0, min(old, len(keys) - 1))
        at += page.rows[at].kind == "heading" and at + 1 < len(keys)
        self.move_cursor(row=at, scroll=bool(key), animate=False)
        if not key:
            self.scroll_to(y=max(0, top + at - old), animate=False, immediate=True)


class TextPane(RichLog):
    """Lines of text. `told`: those that are shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("g", "scroll_home", show=False),
        Binding("G", "scroll_end", show=False),
        Binding("ctrl+b", "page_up", show=False),
        Binding("ctrl+f,space", "page_down", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(min_width=1, auto_scroll=False)
        self.told: list[Line] = []
        self._laid = (0, True)

    def show(self, lines: Sequence[Line], wraps: bool = True) -> None:
        """Show these lines as the whole text, and stay at the same place of it."""
        laid = (self.app.size.width, wraps)
        if (list(lines), laid) != (self.told, self._laid):
            top, self.told, self._laid, self.wrap = self.scroll_offset.y, [], laid, wraps
            self.clear()
            self.add(lines)
            self.scroll_to(y=top, animate=False, immediate=True)

    def add(self, lines: Sequence[Line], follows: bool = False) -> None:
        """Add lines at the end. `follows`: show the end."""
        if lines:
            self.told += lines
            if self.wrap:
                self.write(render_block(lines), width=self.app.size.width - 1, scroll_end=follows)
            else:
                self.write(render_text(lines), shrink=False, scroll_end=follows)


class Canvas(Vertical):
    """Shows a page as a table or text, and knows which row is marked."""

    DEFAULT_CSS = """
    Canvas { height: 1fr; }
    Canvas #list { width: 1fr; }
    Canvas #aside { height: 1fr; border-left: solid ansi_blue; padding: 0 1; overflow: hidden; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.above, self.table, self.pane = Bar("above"), RowTable(), TextPane()
        self.beside, self.prose, self._aside = Bar("beside"), ProseText(), 0
        self._told = ""

    def compose(self) -> ComposeResult:
        yield self.above
        with Horizontal():
            with Vertical(id="list"):
                yield self.table
                yield self.pane
            with Vertical(id="aside") as self._place:
                yield self.beside
                yield self.prose

    @property
    def row(self) -> PageRow | None:
        return self.table.entry if self.table.display else None

    def focus_page(self) -> None:
        """Give the keys to what is shown."""
        self.screen.set_focus(self.table if self.table.display else self.pane)

    def show(self, page: Page, key: str, wraps: bool, aside: int = 0) -> None:
        """A table with the row of this key marked, or a text. `aside`: columns of what stands beside it."""
        self._aside = aside
        self.above.tell(page.above)
        if page.rows:
            self._turn(to_table=True)
            self.table.show(page, key, self.app.size.width - aside - 1)
        else:
            self._text([make_line(page.empty, "dim")] if page.head else page.lines, wraps)

    def tell_beside(self, lines: Sequence[Line], prose: str = "") -> None:
        """What stands beside the table: lines, and Markdown below them; nothing else is drawn anew."""
        self._place.styles.width, self._place.display = self._aside, bool(self._aside and (lines or prose))
        self.beside.tell(lines if self._aside else ())
        if self._aside and prose != self._told:
            self._told = prose
            self.prose.update(prose)

    def words(self, lines: Sequence[Line], wraps: bool = True) -> None:
        """A text, and nothing above or beside it."""
        self._aside = 0
        self.tell_beside(())
        self.above.tell(())
        self._text(lines, wraps)

    def _text(self, lines: Sequence[Line], wraps: bool = True) -> None:
        self._turn(to_table=False)
        self.pane.show(lines, wraps)

    def _turn(self, *, to_table: bool) -> None:
        had = self.screen.focused in (None, self.table, self.pane)
        self.table.display, self.pane.display = to_table, not to_table
        if had:
            self.focus_page()


class LogView:
    """Shows what a log reader reads, while the view is open; follows it while its end is in sight."""

    def __init__(self, reader: LogReader, canvas: Canvas) -> None:
        self._reader, self._canvas = reader, canvas
        self._lines: list[Line] = []
        self._laid, self._word = ("", 0, True), ""
        """`_word`: of the last filter, which `n` and `N` look for."""
        self.wraps = True

    @property
    def state(self) -> str:
        """The state of the log, for the title."""
        return self._reader.state if self._canvas.pane.is_vertical_scroll_end else "stands still; G follows"

    def close(self) -> None:
        self._reader.stop()

    def draw(self, word: str, *, may_follow: bool = True) -> None:
        """Draw what has come since the last time; all of it where the filter or the width has changed."""
        self._word = word or self._word
        came, laid = self._reader.take(), (word, self._canvas.app.size.width, self.wraps)
        self._lines += came
        del self._lines[:-MOST]
        follows = may_follow and self._canvas.pane.is_vertical_scroll_end
        if laid != self._laid:
            self._laid = laid
            top = self._canvas.pane.scroll_offset.y
            self._canvas.words((), self.wraps)
            self._canvas.pane.add(self._fitting(self._lines), follows)
            if not follows:
                self._canvas.pane.scroll_to(y=top, animate=False, immediate=True)
        elif came:
            self._canvas.pane.add(self._fitting(came), follows)

    def go_to_word(self, *, forward: bool) -> str:
        """Go to the next line with the word of the last filter, or to the one before; return what to note."""
        if not self._word:
            return "no word yet: / looks for one"
        if self._laid[0]:  # the whole log, from its beginning: the filter shows only the lines that match
            self._canvas.pane.scroll_to(y=0, animate=False, immediate=True)
            self.draw("", may_follow=False)
        found = self.go_to(re.compile(re.escape(self._word), re.IGNORECASE), forward=forward)
        return (
            f"{self._word}: n next, N before"
            if found
            else f"no {self._word} {'below' if forward else 'above'}"
        )

    def go_to(self, wanted: re.Pattern[str], *, forward: bool = True) -> bool:
        """Go to the next matching line below the top of the screen, or above it; return whether it exists."""
        pane = self._canvas.pane
        top = pane.scroll_offset.y
        rows = range(top + 1, len(pane.lines)) if forward else range(min(top, len(pane.lines)) - 1, -1, -1)
        at = next((row for row in rows if wanted.search(pane.lines[row].text)), None)
        if at is not None:
            pane.scroll_to(y=at, animate=False, immediate=True)
        return at is not None

    def save(self, path: Path) -> None:
        """Write the lines to a new file. OSError, also if it exists."""
        with path.open("x", encoding="utf-8") as file:
            file.writelines("".join(words for words, _ in line) + "\n" for line in self._lines)

    def _fitting(self, lines: list[Line]) -> list[Line]:
        found = list(filter_rows(Page(lines=tuple(lines)), self._laid[0]).lines)
        return found or ([make_line(f"no line has {self._laid[0]!r} yet", "dim")] if lines else found)
