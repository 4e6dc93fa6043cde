"""The glyphs and colors of the chat: each state has a shape, a color and a text, defined only here."""

from __future__ import annotations

from pancode.interfaces.tui.page import Line, Span, spread_line, text_of
from pancode.kernel.formatting import measure_width

GLYPHS: dict[str, tuple[str, str]] = {
    "asks": ("?", "yellow"), "running": ("\u25d0", "cyan"), "waiting": ("\u25f7", "dim"),
    "verified": ("\u2713", "green"), "failed": ("\u2717", "red"), "error": ("!", "red"),
    "stopped": ("\u25a0", "dim"), "unknown": ("\u25cc", "magenta"), "online": ("\u25cf", "green"),
    "not begun": ("\u00b7", "dim"),
}  # fmt: skip
"""The glyph and color of each state. With 16 colors only glyphs are colored; text has the terminal's default
color."""
QUIET, LIVE = "dim", "cyan"
MODES = {"plan": "", "build": LIVE, "review": "green", "admin": "red"}
"""From a mode to the color of its name; plan, the least permissive one, has none."""
STATES: dict[str, tuple[str, str]] = {
    "": ("not begun", "describe the task"),
    "begins": ("waiting", "it begins"),
    "waits for a slot": ("waiting", "waits for a slot"),
    "starts": ("waiting", "starts"),
    "works": ("running", "works"),
    "asks": ("asks", "asks you"),
    "waits for you": ("online", "your turn"),
    "rests": ("online", "suspended; your message continues it"),
    "turn lost": ("failed", "the turn was interrupted; your message is not sent again automatically"),
    "ended": ("stopped", "ended; your message starts it again"),
}
"""The glyph and text of each session state. A state that this version does not know is shown as unknown."""


def draw_glyph(state: str) -> Span:
    sign, tone = GLYPHS[state]
    return sign, f"bold {tone}"


def draw_rule(columns: int, left: Line, right: Line = ()) -> Line:
    """Return a horizontal line with text in it."""
    room = columns - measure_width(text_of(left)) - measure_width(text_of(right)) - 2
    if room < 1:
        return spread_line(columns, left)
    return (("\u2500", QUIET), *left, ("\u2500" * room, QUIET), *right, ("\u2500", QUIET))


def format_clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"
