"""The part of the screen that shows a page or a log: its fixed lines, the heads, and the sheet."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from pancode.interfaces.tui.bars import Bar
from pancode.interfaces.tui.log_reader import MOST, LogReader
from pancode.interfaces.tui.page import Line, Page, PageRow, filter_rows, laid_out, make_line, wrap_lines
from pancode.interfaces.tui.sheet import Sheet


class Canvas(Vertical):
    """Shows a page as a table or text, and knows which row is marked."""

    DEFAULT_CSS = """
    Canvas { height: 1fr; }
    Canvas #list { width: 1fr; }
    Canvas #beside { height: 1fr; border-left: solid ansi_blue; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.above, self.head, self.sheet = Bar("above"), Bar("head"), Sheet()
        self.beside, self._aside = Bar("beside"), 0
        self._rows: tuple[PageRow, ...] = ()

    def compose(self) -> ComposeResult:
        yield self.above
        with Horizontal():
            with Vertical(id="list"):
                yield self.head
                yield self.sheet
            yield self.beside

    @property
    def columns(self) -> int:
        """How many columns a line may take, beside the scroll bar."""
        return max(20, self.app.size.width - 1)

    @property
    def row(self) -> PageRow | None:
        at = self.sheet.cursor
        return self._rows[at] if at is not None and at < len(self._rows) else None

    def show(self, page: Page, key: str, wraps: bool, aside: int = 0) -> None:
        """A table with the row of this key marked, or a text. `aside`: columns of what stands beside it."""
        self._aside = aside
        self.above.tell(wrap_lines(page.above, self.columns))
        if page.head:
            self._table(page, key)
        else:
            self.text(page.lines, wraps)

    def tell_beside(self, lines: Sequence[Line]) -> None:
        """What stands beside the table; nothing else is drawn anew."""
        self.beside.styles.width = self._aside
        self.beside.tell(wrap_lines(lines, self._aside - 3) if self._aside else ())

    def text(self, lines: Sequence[Line], wraps: bool = True) -> None:
        self._rows = ()
        self.head.tell(())
        self.sheet.show(wrap_lines(lines, self.columns) if wraps else lines, None)

    def words(self, lines: Sequence[Line]) -> None:
        """A text, and nothing above or beside it."""
        self._aside = 0
        self.tell_beside(())
        self.above.tell(())
        self.text(lines)

    def _table(self, page: Page, key: str) -> None:
        head, lines = laid_out(page, self.columns - self._aside)
        self._rows = page.rows
        self.head.tell((head,))
        if not lines:
            return self.sheet.show([make_line(page.empty, "dim")], None)
        keys = [row.key for row in page.rows]
        at = keys.index(key) if key in keys else min(self.sheet.cursor or 0, len(keys) - 1)
        self.sheet.show(lines, at)
        return None


class LogView:
    """Shows what a log reader reads, while the view is open."""

    def __init__(self, reader: LogReader, canvas: Canvas) -> None:
        self._reader, self._canvas = reader, canvas
        self._lines: list[Line] = []
        self._word, self._columns = "", 0
        canvas.sheet.can_follow = canvas.sheet.follows = True

    @property
    def state(self) -> str:
        """The state of the log, for the title."""
        return self._reader.state if self._canvas.sheet.follows else "stands still; G follows"

    def close(self) -> None:
        self._reader.stop()
        self._canvas.sheet.can_follow = self._canvas.sheet.follows = False

    def draw(self, word: str) -> None:
        """Draw what has come since the last time; all of it where the filter or the width has changed."""
        came = self._reader.take()
        self._lines += came
        del self._lines[:-MOST]
        columns = self._canvas.columns
        if (word, columns) != (self._word, self._columns) or not self._canvas.sheet.told:
            self._word, self._columns = word, columns
            self._canvas.words(self._fitting(self._lines))
        elif came:
            self._canvas.sheet.add(wrap_lines(self._fitting(came), columns))

    def _fitting(self, lines: list[Line]) -> list[Line]:
        found = list(filter_rows(Page(lines=tuple(lines)), self._word).lines)
        return found or (
            [make_line(f"no line has {self._word!r} yet", "dim")] if self._word and lines else found
        )
