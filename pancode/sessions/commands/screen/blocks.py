"""Draws the conversation: one widget per block, for the newest blocks only; the view scrolls with the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from pancode.interfaces.tui.page import PageMoment
from pancode.interfaces.tui.prose import ProseText
from pancode.kernel.formatting import diff_style
from pancode.sessions.commands.screen import transcript
from pancode.sessions.commands.screen.look import QUIET, draw_glyph

_CALLS = {"running": "running", "ok": "verified", "failed": "failed", "denied": "stopped"}
MOST, STEP = 80, 40
"""How many of the newest blocks are widgets, and how many earlier ones are added or dropped at once."""
CSS = """
TalkView { height: 1fr; scrollbar-size: 1 1; background: ansi_default; }
TalkView > * { margin: 0 0 1 0; height: auto; }
TalkView > .-marked { border-left: thick ansi_cyan; }
UserBar { border-left: thick ansi_blue; padding: 0 1; }
UserBar Static { width: 1fr; text-style: bold; }
UserBar .when { width: auto; text-style: dim; padding: 0 0 0 2; }
AnswerText { padding: 0 0 0 2; max-width: 102; }
TalkView > AnswerText { margin: 0; }
TalkView > Static { padding: 0 1 0 2; }
TalkView > .panel { border-left: solid ansi_bright_black; padding: 0 1; }
#earlier { text-style: dim; padding: 0 2; display: none; }
"""


class UserBar(Horizontal):
    """A user's messages. `named`: shown with the user's name, because it is not the user of this terminal."""

    def __init__(self, block: transcript.UserBlock, named: bool) -> None:
        super().__init__()
        self._block, self._named = block, named

    def compose(self) -> ComposeResult:
        block = self._block
        text = Text(f"{block.by}: " if self._named else "", QUIET)
        when = "sent" if block.is_sent else ""
        if block.at_ms:
            when = PageMoment.of(block.at_ms).now.strftime("%H:%M")
        yield Static(text.append(block.text, "bold not dim"), markup=False)
        yield Static(when, classes="when", markup=False)


class AnswerText(ProseText):
    """An answer that may grow."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._told = len(text)
        self._stream: MarkdownStream | None = None

    async def grow(self, text: str) -> None:
        """Show the whole text, laying out only the new part."""
        if len(text) > self._told:
            piece, self._told = text[self._told :], len(text)
            self._stream = self._stream or Markdown.get_stream(self)
            await self._stream.write(piece)


class CallsRow(Static):
    """Tool calls on one line; when opened, one line per call with its diff or output."""

    def __init__(self, block: transcript.CallsBlock) -> None:
        super().__init__(markup=False)
        self.block = block
        self.draw()

    def draw(self) -> None:
        block = self.block
        text = Text("\u25be " if block.is_open else "\u25b8 ", QUIET)
        text.append(*draw_glyph(_CALLS[block.calls[-1].state])).append(f" {block.title}", QUIET)
        for call in block.calls if block.is_open else ():
            text.append("\n    ").append(*draw_glyph(_CALLS[call.state]))
            text.append(f" {transcript.call_line(call)}")
            for line in transcript.result_of(call):
                text.append("\n      ").append(line, diff_style(line) if call.diff else QUIET)
        text.no_wrap, text.overflow = not block.is_open, "ellipsis"
        self.update(text)

    def on_click(self) -> None:
        self.block.is_open = not self.block.is_open
        self.draw()


class OutputText(Static):
    """The output of a program that does not take turns."""

    def grow(self, text: str) -> None:
        self.update(Text(text.rstrip("\n")))


def widget_of(block: transcript.TalkBlock, by: str) -> Widget:
    """Return the widget that draws a block. `by`: the user of this terminal."""
    match block:
        case transcript.UserBlock():
            return UserBar(block, block.by != by)
        case transcript.AnswerBlock():
            return AnswerText(block.text)
        case transcript.CallsBlock():
            return CallsRow(block)
        case transcript.OutputBlock():
            return OutputText(Text(block.text.rstrip("\n")), markup=False)
        case transcript.TellBlock():
            return Static(Text.assemble(draw_glyph(block.state), (f" {block.text}", QUIET)), markup=False)
        case transcript.FoundBlock():
            rows = (part for state, line in block.rows for part in (draw_glyph(state), (f" {line}\n", QUIET)))
            return Static(Text.assemble(*rows), markup=False)
        case transcript.PanelBlock():
            text = Text.assemble((f"{block.title}\n", "bold"), block.text)
            return Static(text, markup=False, classes="panel")
    raise AssertionError(block)


class TalkView(VerticalScroll, can_focus=False):
    """A view of the blocks from `first` on; it follows the end until the user scrolls away."""

    def __init__(self, blocks: Sequence[transcript.TalkBlock], by: str) -> None:
        super().__init__()
        self._blocks, self._by, self.first = blocks, by, 0
        self._shown: dict[transcript.TalkBlock, Widget] = {}
        self._earlier = Static("", id="earlier", markup=False)
        self.marked: transcript.TalkBlock | None = None

    def compose(self) -> ComposeResult:
        yield self._earlier

    def on_mount(self) -> None:
        self.anchor()

    @property
    def follows(self) -> bool:
        return self.max_scroll_y - self.scroll_offset.y <= 1 or not self.max_scroll_y

    async def sync(self, changed: Sequence[transcript.TalkBlock]) -> None:
        """Update the widgets from the blocks; `changed`: blocks that are new or have grown."""
        if len(self._blocks) - self.first > MOST + STEP and (self.follows or not self._shown):
            self.first = len(self._blocks) - MOST
        wanted = self._blocks[self.first :]
        for block in set(self._shown).difference(wanted):
            await self._shown.pop(block).remove()
        for block in changed:
            match self._shown.get(block), block:
                case AnswerText() as shown, transcript.AnswerBlock(text):
                    await shown.grow(text)
                case OutputText() as shown, transcript.OutputBlock(text):
                    shown.grow(text)
                case CallsRow() as shown, _:
                    shown.draw()
        # Earlier blocks are mounted before the shown ones, later blocks after them.
        here = next((at for at, block in enumerate(wanted) if block in self._shown), 0)
        first = self._shown.get(wanted[here]) if wanted else None
        for blocks, before in ((wanted[:here], first), (wanted[here:], None)):
            new = {block: widget_of(block, self._by) for block in blocks if block not in self._shown}
            self._shown.update(new)
            if new:
                await self.mount_all(new.values(), before=before)
        self._earlier.update(f"\u25b2 {self.first} earlier \u00b7 PageUp")
        self._earlier.display = self.first > 0

    def page(self, by: int) -> bool:
        """Scroll a page up or down; return whether earlier blocks must be shown."""
        self.scroll_relative(y=by * max(1, self.size.height - 2), animate=False, force=True)
        if by < 0 and self.scroll_offset.y <= self.size.height and self.first:
            self.first = max(0, self.first - STEP)
            return True
        return False

    def mark(self, block: transcript.TalkBlock | None) -> None:
        """Mark the block and scroll to it; with None, remove the mark."""
        for one in (self.marked, block):
            if one in self._shown:
                self._shown[one].set_class(one is block, "-marked")
        self.marked = block
        if block in self._shown:
            self.release_anchor()
            self._shown[block].scroll_visible(animate=False, force=True)

    def mark_next(self, by: int) -> None:
        """Mark the next block up or down; below the last one, remove the mark."""
        at = self._blocks.index(self.marked) if self.marked in self._blocks else len(self._blocks)
        to = max(self.first, at + by)
        self.mark(self._blocks[to] if to < len(self._blocks) else None)
        if self.marked is None:
            self.anchor()

    def find(self, word: str) -> transcript.TalkBlock | None:
        """Return the next block that contains the text, going up from the mark and wrapping around."""
        at = self._blocks.index(self.marked) if self.marked in self._blocks else len(self._blocks)
        around = [*reversed(self._blocks[:at]), *reversed(self._blocks[at:])]
        wanted = word.casefold()
        found = next((one for one in around if wanted in transcript.plain_of(one).casefold()), None)
        if found is not None:
            self.first = min(self.first, self._blocks.index(found))
        return found

    def redraw(self, block: transcript.TalkBlock) -> None:
        shown = self._shown.get(block)
        if isinstance(shown, CallsRow):
            shown.draw()
