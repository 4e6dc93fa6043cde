"""The part of the screen that shows a page: its fixed lines, the heads, and the sheet."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical

from pancode.tui.bars import Bar
from pancode.tui.page import Line, Page, PageRow, laid_out, line
from pancode.tui.sheet import Sheet
from pancode.tui.wrapping import wrapped


class Canvas(Vertical):
    """Knows which row is marked."""

    DEFAULT_CSS = "Canvas { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.above, self.head, self.sheet = Bar("above"), Bar("head"), Sheet()
        self._rows: tuple[PageRow, ...] = ()

    def compose(self) -> ComposeResult:
        yield self.above
        yield self.head
        yield self.sheet

    @property
    def columns(self) -> int:
        """What a line may take, beside the bar that scrolls."""
        return max(20, self.app.size.width - 1)

    @property
    def row(self) -> PageRow | None:
        at = self.sheet.cursor
        return self._rows[at] if at is not None and at < len(self._rows) else None

    def show(self, page: Page, key: str, wraps: bool) -> None:
        """A table with the row of this key marked, or a text."""
        self.above.tell(wrapped(page.above, self.columns))
        if page.head:
            self._table(page, key)
        else:
            self.text(page.lines, wraps)

    def text(self, lines: Sequence[Line], wraps: bool = True) -> None:
        self._rows = ()
        self.head.tell(())
        self.sheet.show(wrapped(lines, self.columns) if wraps else lines, None)

    def words(self, lines: Sequence[Line]) -> None:
        """A text, and nothing above it."""
        self.above.tell(())
        self.text(lines)

    def _table(self, page: Page, key: str) -> None:
        head, lines = laid_out(page, self.columns)
        self._rows = page.rows
        self.head.tell((head,))
        if not lines:
            return self.sheet.show([line(page.empty, "dim")], None)
        keys = [row.key for row in page.rows]
        at = keys.index(key) if key in keys else min(self.sheet.cursor or 0, len(keys) - 1)
        self.sheet.show(lines, at)
        return None
