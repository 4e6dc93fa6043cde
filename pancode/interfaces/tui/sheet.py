"""The widget that shows lines: rows with a cursor, or a text that scrolls; draws only lines that changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pancode.interfaces.tui.page import Line, text_of
from pancode.kernel.formatting import measure_width

_CURSOR = Style(reverse=True)


@lru_cache
def _style(name: str) -> Style:
    return Style.parse(name)


class Sheet(ScrollView, can_focus=True):
    """Lines that scroll. `cursor`: the marked row; None: there are no rows, and the keys scroll."""

    BINDINGS = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("pagedown,ctrl+f,space", "page(1)", show=False),
        Binding("home,g", "edge(False)", show=False),
        Binding("end,G", "edge(True)", show=False),
        Binding("left", "sideways(-8)", show=False),
        Binding("right", "sideways(8)", show=False),
    ]
    DEFAULT_CSS = "Sheet { overflow-y: auto; overflow-x: auto; scrollbar-size: 1 1; }"

    class Entered(Message):
        """A click on a row that was marked already."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Line] = []
        self.cursor: int | None = None
        self.follows = False

    def show(self, lines: Sequence[Line], cursor: int | None) -> None:
        """Show these lines as the whole content; only lines that differ are drawn again."""
        old, old_cursor = self.told, self.cursor
        self.told, self.cursor = list(lines), cursor
        if len(old) != len(self.told):
            self._measure()
            self.refresh()
        else:
            changed = {at for at, (one, other) in enumerate(zip(old, self.told, strict=True)) if one != other}
            if cursor != old_cursor:
                changed |= {at for at in (cursor, old_cursor) if at is not None}
            self._redraw(changed)
        if self.follows:
            self._to_end()
        elif cursor != old_cursor:
            self._keep_in_sight()

    def add(self, lines: Sequence[Line]) -> None:
        """Add lines at the end."""
        self.told += lines
        self._measure()
        self.refresh()
        if self.follows:
            self._to_end()

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        at, columns = top + y, self.size.width
        if at >= len(self.told):
            return Strip.blank(columns)
        segments = [Segment(text, _style(style)) for text, style in self.told[at]]
        strip = Strip(segments).crop_extend(left, left + columns, None)
        return strip.apply_style(_CURSOR) if at == self.cursor else strip

    def action_move(self, by: int) -> None:
        if self.cursor is None:
            self._scroll(self.scroll_offset.y + by)
        else:
            self._mark(self.cursor + by)

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 1))

    def action_edge(self, end: bool) -> None:
        if self.cursor is not None:
            self._mark(len(self.told) if end else 0)
        elif end:
            self._to_end()
            self.follows = self.can_follow
        else:
            self._scroll(0)

    def action_sideways(self, by: int) -> None:
        self.scroll_to(x=max(0, self.scroll_offset.x + by), animate=False)

    can_follow = False
    """Whether this text grows at its end, so that it can be followed."""

    def on_click(self, event: events.Click) -> None:
        at = self.scroll_offset.y + event.y
        if self.cursor is None or at >= len(self.told):
            return
        if at == self.cursor:
            self.post_message(self.Entered())
        self._mark(at)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.follows = False

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.follows = False

    def _mark(self, at: int) -> None:
        old = self.cursor
        self.cursor = max(0, min(at, len(self.told) - 1)) if self.told else None
        self._redraw({one for one in (old, self.cursor) if one is not None})
        self._keep_in_sight()

    def _scroll(self, to: int) -> None:
        self.follows = False
        self.scroll_to(y=max(0, to), animate=False)

    def _to_end(self) -> None:
        self.scroll_to(y=len(self.told), animate=False, immediate=True, force=True)

    def _keep_in_sight(self) -> None:
        if self.cursor is None:
            return
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)

    def _measure(self) -> None:
        widest = (
            0
            if self.cursor is not None
            else max((measure_width(text_of(one)) for one in self.told), default=0)
        )
        self.virtual_size = Size(widest, len(self.told))

    def _redraw(self, changed: set[int]) -> None:
        top = self.scroll_offset.y
        for at in changed:
            if top <= at < top + self.size.height:
                self.refresh(Region(0, at - top, self.size.width, 1))
