"""The input field: several lines, a history, and completion of `/` commands and `@` names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import OptionList, TextArea
from textual.widgets.option_list import Option

from pancode.kernel.formatting import clip_columns, escape_line
from pancode.sessions.commands.slash import find_by_prefix, is_name

MOST_SHOWN = 8
_AT = re.compile(r"(?:^|(?<=\s))@(\S*)$")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Completions of the text before the cursor. `start`: the position where the completed part begins."""

    start: int
    words: Sequence[tuple[str, str]]


def suggest_completion(before: str, things: Sequence[tuple[str, str]]) -> Suggestion | None:
    """Return completions for a command at the start of the text, or for `@` and part of a name; else None."""
    if before.startswith("/") and not re.search(r"\s", before):
        found = find_by_prefix(before)
        return Suggestion(0, found) if found and not is_name(before) else None
    at = _AT.search(before)
    if at is None:
        return None
    wanted = at[1].casefold()
    near = [one for one in things if wanted in f"{one[0]} {one[1]}".casefold()]
    near.sort(key=lambda one: (not one[0].casefold().rpartition("/")[2].startswith(wanted), len(one[0])))
    return Suggestion(at.start(), near[:MOST_SHOWN]) if near else None


@dataclass
class TypedHistory:
    """The texts typed so far, newest last, and a current position among them."""

    texts: list[str] = field(default_factory=list)
    _at: int = 0
    _draft: str = ""

    def add(self, text: str) -> None:
        if not self.texts or self.texts[-1] != text:
            self.texts.append(text)
        self._at = len(self.texts)

    def move(self, by: int, now: str) -> str | None:
        """Return the text `by` steps away, or None; `now`, the draft, comes after the last text."""
        to = self._at + by
        if not 0 <= to <= len(self.texts):
            return None
        if self._at == len(self.texts):
            self._draft = now
        self._at = to
        return self._draft if to == len(self.texts) else self.texts[to]


class Popup(OptionList, can_focus=False):
    """The list of suggestions above the field; keys go to it through the field."""

    def show(self, words: Sequence[tuple[str, str]]) -> None:
        self.clear_options()
        for name, about in words:
            text = Text(f"{clip_columns(escape_line(name), 40):<18}", "bold", no_wrap=True)
            self.add_option(Option(text.append(f"  {clip_columns(escape_line(about), 40)}", "not bold dim")))
        self.highlighted = 0 if words else None
        self.display = bool(words)


class Field(TextArea):
    """The user's input field: Enter sends, Ctrl-J starts a new line."""

    class Sent(Message):
        """An event: the user has sent this text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Named(Message):
        """An event: the user typed `@`, so completions are needed."""

    BREAKS: ClassVar[frozenset[str]] = frozenset({"ctrl+j", "shift+enter", "alt+enter"})

    def __init__(self, popup: Popup) -> None:
        super().__init__(compact=True, highlight_cursor_line=False, show_line_numbers=False)
        self.popup, self.typed = popup, TypedHistory()
        self.things: Sequence[tuple[str, str]] | None = None
        self._offer: Suggestion | None = None
        self._offered_for = ""

    @property
    def before(self) -> str:
        """Return the text before the cursor."""
        return self.get_text_range((0, 0), self.cursor_location)

    async def _on_key(self, event: events.Key) -> None:
        if self._handle_key(event.key):
            event.prevent_default()
            event.stop()
        else:
            await super()._on_key(event)

    def _handle_key(self, key: str) -> bool:
        """Handle the key in this field; return False if the text area must handle it."""
        if self.popup.display and self._offered_for != self.text:
            self.suggest()  # The key arrived before the event of the text typed just before it.
        if self.popup.display and self._steer_popup(key):
            return True
        if key == "enter":
            self.post_message(self.Sent(self.text))
        elif key in self.BREAKS:
            self.insert("\n")
        else:
            return key in ("up", "down") and self._recall_text(-1 if key == "up" else 1)
        return True

    def on_text_area_changed(self) -> None:
        if self.things is None and _AT.search(self.before):
            self.things = ()
            self.post_message(self.Named())
        self.suggest()

    def suggest(self) -> None:
        """Suggest completions of the text before the cursor."""
        self._show_suggestion(suggest_completion(self.before, self.things or ()))

    def recall(self) -> None:
        """Suggest earlier texts that contain the typed text."""
        wanted = self.text.casefold()
        found = list(dict.fromkeys(one for one in reversed(self.typed.texts) if wanted in one.casefold()))
        self._show_suggestion(Suggestion(-1, [(one, "") for one in found[:MOST_SHOWN]]) if found else None)

    def _show_suggestion(self, offered: Suggestion | None) -> None:
        self._offer, self._offered_for = offered, self.text
        self.popup.show(offered.words if offered else ())

    def put(self, text: str) -> None:
        """Replace the whole text and move the cursor to its end."""
        self.text = text
        self.move_cursor(self.document.end)

    def _steer_popup(self, key: str) -> bool:
        """Let the popup handle the key; return whether it did."""
        acts = {"up": self.popup.action_cursor_up, "down": self.popup.action_cursor_down}
        acts |= dict.fromkeys(("tab", "enter"), self._take_suggestion)
        acts["escape"] = lambda: self.popup.show(())
        if key in acts:
            acts[key]()
        return key in acts

    def _take_suggestion(self) -> None:
        at, taken = self.popup.highlighted, self._offer
        self.popup.show(())
        if at is None or taken is None:
            return
        word = taken.words[at][0]
        if taken.start < 0:
            self.put(word)
        else:
            before = self.before
            line, column = self.cursor_location
            begin = (line, column - len(before) + taken.start)
            self.replace(f"{word} " if before.startswith("@", taken.start) else word, begin, (line, column))

    def _recall_text(self, by: int) -> bool:
        """On the first or last line, show the previous or next typed text; return whether it did."""
        line = self.cursor_location[0]
        if line != (0 if by < 0 else self.document.line_count - 1):
            return False
        found = self.typed.move(by, self.text)
        if found is not None:
            self.put(found)
            self.popup.show(())
        return found is not None
