"""The log of a run on the sheet: lines come, are filtered and wrapped; it follows until one scrolls up."""

from __future__ import annotations

from pancode.tui.canvas import Canvas
from pancode.tui.logreader import MOST, LogReader
from pancode.tui.page import Line, Page, filtered, line
from pancode.tui.wrapping import wrapped


class LogView:
    """Between a reader and the canvas, while the view is open."""

    def __init__(self, reader: LogReader, canvas: Canvas) -> None:
        self._reader, self._canvas = reader, canvas
        self._lines: list[Line] = []
        self._word, self._columns = "", 0
        canvas.sheet.can_follow = canvas.sheet.follows = True

    @property
    def state(self) -> str:
        """The state for the title."""
        return self._reader.state if self._canvas.sheet.follows else "stands still; G follows"

    def close(self) -> None:
        self._reader.stop()
        self._canvas.sheet.can_follow = self._canvas.sheet.follows = False

    def draw(self, word: str) -> None:
        """What has come since; all of it when the filter or the width has changed."""
        came = self._reader.take()
        self._lines += came
        del self._lines[:-MOST]
        columns = self._canvas.columns
        if (word, columns) != (self._word, self._columns) or not self._canvas.sheet.told:
            self._word, self._columns = word, columns
            self._canvas.words(self._fitting(self._lines))
        elif came:
            self._canvas.sheet.add(wrapped(self._fitting(came), columns))

    def _fitting(self, lines: list[Line]) -> list[Line]:
        found = list(filtered(Page(lines=tuple(lines)), self._word).lines)
        return found or ([line(f"no line has {self._word!r} yet", "dim")] if self._word and lines else found)
