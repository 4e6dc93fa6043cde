"""Screens above the page: a question, a field for words, the keys."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from pancode.interfaces.tui.keys import help_lines
from pancode.interfaces.tui.page import Line

LEAVE = Binding("ctrl+c", "app.quit", priority=True)


def render_lines(lines: list[Line]) -> Text:
    """Return the lines as Rich's text, without reading markup in them."""
    text = Text(no_wrap=True)
    for at, one in enumerate(lines):
        text.append("\n" if at else "")
        for words, style in one:
            text.append(words, style)
    return text


class Confirm(ModalScreen[bool]):
    """A question that only `y` answers with yes."""

    BINDINGS = [LEAVE, Binding("y", "say(True)"), Binding("n,escape,q", "say(False)")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(Text(self.question), markup=False)
            yield Static(Text("\ny  yes      n or Esc  no", "bold"), markup=False)

    def action_say(self, yes: bool) -> None:
        self.dismiss(yes)


class Words(ModalScreen[str]):
    """A field for words of the user; Esc gives none."""

    BINDINGS = [LEAVE, Binding("escape", "leave")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self.question), markup=False)
            yield Input(compact=True)
            yield Static(Text("Enter sends it, Esc does not", "dim"), markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss("")


class KeysHelp(ModalScreen[None]):
    """All keys, filtered by what the user types."""

    BINDINGS = [LEAVE, Binding("escape", "leave")]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog keys"):
            yield Input(placeholder="type to filter the keys; Esc closes", compact=True)
            yield Static(render_lines(help_lines("")), id="known", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one("#known", Static).update(render_lines(help_lines(event.value)))

    def action_leave(self) -> None:
        self.dismiss(None)
