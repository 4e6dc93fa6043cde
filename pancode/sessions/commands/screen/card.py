"""The card with a question for the user. An approval names the question shown; typed text never approves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.text import Text
from textual import events
from textual.widgets import Static

from pancode.kernel.formatting import escape_line, escape_text
from pancode.sessions.commands.screen.controller import Consent
from pancode.sessions.commands.screen.look import QUIET, draw_glyph

CSS = """
AskCard { height: auto; max-height: 60%; display: none; margin: 0 1; padding: 0 1; border: round ansi_yellow;
  background: ansi_default; }
AskCard:focus { border: heavy ansi_yellow; }
"""
QUIET_MS = 1_000
"""How many milliseconds a card must have been shown before it accepts an answer."""


@dataclass(frozen=True, slots=True)
class CardAnswer:
    """The user's answer to a question. `how`: yes, always, no, choice, or words (still to be typed)."""

    question: Any
    how: str
    choice: str = ""


class AskCard(Static, can_focus=True):
    """A card with a question. `asks`: a question from the API, or a `Consent`; None: no question."""

    def __init__(self, answered: Callable[[CardAnswer], object], typed: Callable[[str], object]) -> None:
        self.asks: Any = None
        super().__init__(markup=False)
        self._answered, self._typed = answered, typed

    def show(self, question: Any) -> bool:
        """Show the question; return whether it is new, so that keys pressed before it do not answer it."""
        other = bool(question != self.asks)
        self.asks, self.display = question, question is not None
        if other and question is not None:
            self.draw()
        return other

    def draw(self) -> None:
        """Draw the card, with its keys while it has the focus."""
        if self.asks is None:
            return
        question, words, choices = _split_question(self.asks)
        text = Text.assemble(draw_glyph("asks"), (f" {question}\n", "bold"), escape_text(words))
        for number, choice in enumerate(choices, start=1):
            text.append(f"\n {number}", "bold").append(f" {escape_line(choice)}")
        if isinstance(self.asks, dict) and self.asks.get("whole"):
            text.append(f"\n a: {escape_line(self.asks['whole'])}", QUIET)
        if self.has_focus:
            text.append("\n")
            for key, what, _ in self._list_keys():
                text.append(f" {key} {what} ", "reverse bold" if key == "y" else "bold").append("  ")
            text.append("Esc back", QUIET)
        else:
            text.append("\nTab", "bold").append(" for the keys", QUIET)
            alone = [key for key, _, how in self._list_keys() if len(key) == 1 and how != "words"]
            if alone:
                text.append(f", or type one of {' '.join(alone)} and Enter", QUIET)
        self.update(text)

    def _list_keys(self) -> list[tuple[str, str, str]]:
        """Return the key, label and action (`CardAnswer.how`) of each key that the question accepts."""
        if isinstance(self.asks, Consent):
            return [("y", self.asks.action, "yes"), ("x", "do not", "no")]
        match self.asks["kind"]:
            case "question":
                number = [("1\u2026", "choose", "choice")] if self.asks["choices"] else []
                return [*number, ("Enter", "write the answer", "words")]
            case "call":
                once = [("y", "allow once", "yes"), ("a", "always here", "always")]
                return [*once, ("x", "deny", "no"), ("n", "say why", "words")]
        return [("y", "yes", "yes"), ("x", "no", "no")]

    def on_key(self, event: events.Key) -> None:
        """Handle the card's own keys; any other character, and those after it, go to the field."""
        how = self._find_answer(event.key) if self.screen.focused is self else None
        if how is not None:
            event.stop()
            self._answered(how)
        elif event.is_printable and event.character and self.asks is not None:
            event.stop()
            self._typed(event.character)

    def answer_by(self, text: str) -> CardAnswer | None:
        """Return the answer if the text is exactly one of the card's keys; else None."""
        answer = self._find_answer(text) if len(text) == 1 else None
        return None if answer is None or answer.how == "words" else answer

    def _find_answer(self, key: str) -> CardAnswer | None:
        question = self.asks
        if question is None:
            return None
        if isinstance(question, dict) and question["kind"] == "question" and key.isdecimal():
            return CardAnswer(question, "choice", key) if 0 < int(key) <= len(question["choices"]) else None
        hows = {name.lower(): how for name, _, how in self._list_keys()}
        return CardAnswer(question, hows[key]) if key in hows else None

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.draw()


def _split_question(question: Any) -> tuple[str, str, list[str]]:
    """Return the question's title, its text and its choices."""
    if isinstance(question, Consent):
        return question.title, question.question, []
    titles = {
        "question": "the agent asks you",
        "call": "the agent requests to run this command",
        "change": "the agent requests to change this",
    }
    titles |= {"landing": "the agent requests to land this change"}
    return (
        titles.get(question["kind"], "your approval is required"),
        question["words"],
        list(question["choices"]),
    )
