"""The small widgets around a page: bars of text and the prompt; and the style of all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from pancode.interfaces.tui.page import NAMES, Line, is_fact_line
from pancode.interfaces.tui.views import ALSO, list_resources

CSS = """
Screen { background: ansi_default; color: ansi_default; }
Bar, PromptLine { height: auto; width: 100%; background: ansi_default; }
#summary, #title { height: 1; }
RowTable, TextPane { height: 1fr; background: ansi_default; color: ansi_default; scrollbar-size: 1 1;
  background-tint: transparent; }
RowTable > .datatable--header, RowTable > .datatable--even-row, RowTable > .datatable--odd-row,
  RowTable > .datatable--hover, RowTable > .datatable--header-hover
  { background: ansi_default; color: ansi_default; background-tint: transparent; }
RowTable > .datatable--header { text-style: bold; }
RowTable > .datatable--cursor, RowTable:focus > .datatable--cursor
  { background: ansi_default; color: ansi_default; text-style: reverse; }
Footer, FooterKey { background: ansi_default; color: ansi_default; }
FooterKey .footer-key--key { background: ansi_default; color: ansi_default; text-style: bold; }
FooterKey .footer-key--description { background: ansi_default; color: ansi_default; }


SearchIcon { display: none; }
PromptLine { display: none; border: none; padding: 0 1; }
ModalScreen { align: center middle; background: transparent; }
.dialog { width: 90%; max-width: 100; height: auto; max-height: 90%; border: round ansi_blue;
  background: ansi_default; padding: 0 1; }
"""


def render_text(lines: Sequence[Line]) -> Text:
    """Return the lines as Rich's text, without reading markup in them."""
    text = Text()
    for at, one in enumerate(lines):
        text.append("\n" if at else "")
        for words, style in one:
            text.append(words, style)
    return text


def render_block(lines: Sequence[Line]) -> Group:
    """Return the lines as a text that wraps; the value of a fact stays to the right of its name."""
    parts: list[Text | Table] = []
    for is_fact, block in groupby(lines, is_fact_line):
        if not is_fact:
            parts.append(render_text(list(block)))
            continue
        table = Table.grid()
        table.add_column(width=NAMES)
        table.add_column()
        for one in block:
            table.add_row(render_text([one[:1]]), render_text([one[1:]]))
        parts.append(table)
    return Group(*parts)


class Bar(Static):
    """A bar of text lines; without lines it takes no room."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id, markup=False)
        self.told: Sequence[Line] | None = None

    def tell(self, lines: Sequence[Line]) -> None:
        """Show these lines; drawn again only where they differ."""
        if lines != self.told:
            self.told = lines
            self.display = bool(lines)
            self.update(render_block(lines))


class PromptLine(Input):
    """One line at the foot: `:` takes a resource, `/` a filter."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "cursor_right", show=False)]

    def __init__(self) -> None:
        super().__init__(compact=True)
        self.sign = ""

    def open(self, sign: str, value: str = "") -> None:
        """Open the line for words, and give it the keys."""
        self.sign, self.value = sign, value
        self.suggester = SuggestFromList([*list_resources(), *ALSO]) if sign == ":" else None
        self.display = True
        self.screen.set_focus(self)  # at once: a key that is typed behind `/` must not be a command

    def close(self) -> None:
        self.sign = ""
        self.display = False
