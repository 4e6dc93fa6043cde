"""Mode and level in the chat: their selection by keys, their display, and when a selection is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pancode.interfaces.tui.page import Line
from pancode.kernel.formatting import escape_line
from pancode.sessions.commands.screen.look import MODES, QUIET, draw_rule
from pancode.sessions.commands.terms import ADMIN, Terms, next_level, next_mode, read_chosen

SETTLE_MS = 700
"""Milliseconds from the last key until a choice is sent, so that values skipped on the way have no effect."""
NEXT = "with your next message"


class ChosenTerms:
    """The mode and level chosen with keys. `send` sends those that were chosen, once there is a session."""

    def __init__(self, send: Callable[[Terms], object]) -> None:
        self._send = send
        self._shape: Mapping[str, Any] = {}
        self._wish: dict[str, str] = {}
        """Chosen by keys, but not sent yet."""
        self._sent: dict[str, str] = {}
        """Values that were sent but are not in the session's state yet."""
        self._back = "build"

    def settings(self, found: Terms) -> None:
        """Set the mode and level that apply before there is a session."""
        if not self._shape:
            self._shape = found

    def shaped(self, shape: Mapping[str, Any]) -> None:
        """Apply the session's new state."""
        self._shape = shape
        if self._sent.items() <= dict(zip(("mode", "safety"), read_chosen(shape), strict=True)).items():
            self._sent = {}

    def over(self) -> None:
        """Forget the sent values: they were applied or refused, so the session's state is authoritative."""
        self._sent = {}

    @property
    def now(self) -> tuple[str, str]:
        """Return the mode and level that apply to the next message."""
        mode, safety = read_chosen(self._shape)
        terms = {**self._sent, **self._wish}
        return terms.get("mode", mode), terms.get("safety", safety)

    def turn_mode(self) -> None:
        self._wish["mode"] = next_mode(self.now[0])

    def admin(self) -> None:
        """Choose the mode admin; if it is already chosen, return to the previous mode."""
        mode = self.now[0]
        if mode != ADMIN:
            self._back = mode or self._back
        self._wish["mode"] = self._back if mode == ADMIN else ADMIN

    def turn_level(self) -> None:
        self._wish["safety"] = next_level(self.now[1])

    def send(self) -> None:
        """Send the chosen values that do not apply yet."""
        wish, self._wish = self._wish, {}
        held = dict(zip(("mode", "safety"), read_chosen(self._shape), strict=True))
        wish = {name: value for name, value in wish.items() if {**held, **self._sent}[name] != value}
        if wish:
            self._sent |= wish
            self._send(wish)

    def first(self) -> Terms:
        """Return the chosen values, for a session that starts now."""
        self._sent, self._wish = self._wish, {}
        return dict(self._sent)

    def line(self, columns: int, means: str) -> Line:
        """Return the line above the field, with the mode on the left and the level on the right."""
        mode, safety = map(escape_line, self.now)
        held = (self._shape.get("mode"), self._shape.get("safety"))
        later = bool(self._shape.get("session")) and self.now != held
        left: Line = ((f" {mode} ", f"bold {MODES.get(mode, QUIET)}"),) if mode else ()
        left = (*left, (f"{NEXT} " if later else "Shift-Tab ", QUIET)) if mode else left
        middle: Line = ((f" {means} ", QUIET),) if means and columns >= 80 else ()
        right: Line = ((f" {safety} ", "bold"), ("Ctrl-Y ", QUIET)) if safety else ()
        return draw_rule(columns, left, (*middle, *right))
