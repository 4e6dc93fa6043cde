"""The small widgets around a page: bars of text, the prompt, the footer of keys; and the style of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from pancode.interfaces.tui.dialogs import render_lines
from pancode.interfaces.tui.keys import list_footer_keys
from pancode.interfaces.tui.page import Line
from pancode.interfaces.tui.views import ALSO, list_resources

CSS = """
Screen { background: ansi_default; color: ansi_default; }
Bar, KeyBar, PromptLine { height: auto; width: 100%; background: ansi_default; }
KeyBar, #summary, #title, #head { height: 1; }
Sheet { height: 1fr; background: ansi_default; color: ansi_default; }
PromptLine { display: none; border: none; padding: 0 1; }
ModalScreen { align: center middle; background: transparent; }
.dialog { width: 90%; max-width: 100; height: auto; max-height: 90%; border: round ansi_blue;
  background: ansi_default; padding: 0 1; }
.keys { height: 90%; overflow-y: auto; }
"""


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
            self.update(render_lines(list(lines)))


class KeyBar(Static):
    """The keys that fit the marked row; a click presses one."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._kind: str | None = None
        self._ends: list[tuple[int, str]] = []

    def fit(self, kinds: frozenset[str]) -> None:
        """Show the keys for a thing of these kinds."""
        kind = " ".join(sorted(kinds))
        if kind == self._kind:
            return
        self._kind, text, self._ends = kind, Text(no_wrap=True), []
        for key, words in list_footer_keys(kinds):
            text.append(f" {key.label}", "bold")
            text.append(f" {words} ")
            self._ends.append((len(text.plain), key.press))
        self.update(text)

    def on_click(self, event: events.Click) -> None:
        pressed = next((press for end, press in self._ends if event.x < end), None)
        if pressed is not None:
            self.app.simulate_key(pressed)


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
