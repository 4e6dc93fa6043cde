"""Screens above the page: a question, a field for words, and the palette of all keys and pages."""

from __future__ import annotations

from functools import partial

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from pancode.interfaces.tui.keys import KEYS, LEAVE, label_of

__all__ = ("Confirm", "Palette", "Words")


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


class KeyHits(Provider):
    """Every key, with what it does; choosing one presses it."""

    async def discover(self) -> Hits:
        for key in KEYS:
            yield DiscoveryHit(f"{label_of(key):<14}{key.tooltip}", partial(self.app.simulate_key, key.key))

    async def search(self, query: str) -> Hits:
        for key in KEYS:
            words = f"{label_of(key):<14}{key.tooltip}"
            if query.casefold() in words.casefold():
                yield Hit(1, words, partial(self.app.simulate_key, key.key))


class Palette(CommandPalette):
    """Textual's palette with our keys."""

    BINDINGS = [LEAVE]

    def __init__(self) -> None:
        super().__init__(
            providers=[KeyHits], placeholder="type to filter the keys; Enter presses one, Esc closes"
        )
