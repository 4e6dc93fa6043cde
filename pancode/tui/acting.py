"""Carries out a key: looks at the thing, asks the person, sends the request, and shows how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pancode.errors import PancodeError
from pancode.tui.acts import ACTS, Act, ActKind, KeySubject, choices, held, way_of
from pancode.tui.dialogs import Confirm, Words
from pancode.tui.page import Json
from pancode.tui.reader import Reader
from pancode.tui.steady import SteadyPage

HELD = "held"
"""The refusal of a landing that a person can lift by a word."""


class Acting:
    """One question at a time: what was asked before is forgotten. `note` shows one line, in a style."""

    def __init__(self, page: SteadyPage, note: Callable[..., None], reader: Reader, by: str) -> None:
        self._page, self._note, self._reader, self._by = page, note, reader, by
        self._ticket = 0
        self._next: Callable[[Any], None] | None = None

    def begin(self, name: str, kind: str, about: KeySubject) -> None:
        """The act of this name on a thing of this kind."""
        if (name, kind) == ("approve", "item"):
            name = way_of(about.shape)
        chosen = ACTS[name, kind]
        if chosen.look is None:
            return self._ask(chosen, about.shape)
        self._ticket += 1
        self._next = lambda shape: self._ask(chosen, shape)
        self._reader.look(self._ticket, chosen.look(about.name(kind)))
        return None

    def looked(self, ticket: int, shape: Any) -> None:
        if ticket == self._ticket and self._next is not None:
            ask, self._next = self._next, None
            ask(shape)

    def acted(self, act: Act | None, refused: PancodeError | None) -> None:
        """Say how it ended; where only a yes is missing, ask for it."""
        if refused is None:
            return self._note(act.says if act is not None else "", "green")
        yes = str(getattr(refused, "details", {}).get("yes", ""))
        if act is not None and refused.code == HELD and yes:
            return self._confirm(held(act, refused.why, yes))
        return self._note(". ".join(filter(None, (str(refused), refused.why, refused.fix))), "red")

    def _ask(self, chosen: ActKind, shape: Json) -> None:
        if not chosen.words:
            return self._confirm(chosen.act(shape, ""))

        def said(words: str | None) -> None:
            if words and words.strip():
                self._send(chosen.act(shape, words.strip()))

        question = f"{chosen.words} {shape['run']}:\n{choices(shape)}"
        self._page.app.push_screen(Words(question), said)
        return None

    def _confirm(self, act: Act) -> None:
        def said(yes: bool | None) -> None:
            if yes:
                self._send(act)

        self._page.app.push_screen(Confirm(act.question), said)

    def _send(self, act: Act) -> None:
        self._note("asked; waiting for the answer ...")
        self._reader.act(act, self._by)
