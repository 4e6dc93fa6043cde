"""The one application on the whole terminal, which restores it when it ends; and its pages."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import threading
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.app import App
from textual.color import Color
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter
from textual.screen import Screen

from pancode.interfaces.client.caller import terminal_is_gone
from pancode.interfaces.tui import bars, prose
from pancode.interfaces.tui.themes import OWN, THEMES
from pancode.kernel.errors import ExitCode, PancodeError

_SIGNS = dict(zip("±◐◇◷●✓○◆✗■◌·□▨▸»→–…•—", "+>^.*vo=x#~-.%>>>-.*-", strict=True))


_BOXES = {code: unicodedata.name(chr(code)) for code in range(0x2500, 0x2580)}
_ASCII = str.maketrans(
    {code: "+-|"[("HORIZONTAL" in name) - ("VERTICAL" in name)] for code, name in _BOXES.items()}
    | dict.fromkeys(range(9600, 9632), "#")
    | {ord(sign): plain for sign, plain in {**_SIGNS, "━": "="}.items()}
)


def needs_ascii(environ: Mapping[str, str]) -> bool:
    """Whether the terminal or its locale shows no UTF-8; a locale that nobody set is taken to show it."""
    named = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environ.get(name))), "utf8")
    return environ.get("TERM") == "linux" or "utf8" not in named.lower().replace("-", "")


class AsciiFilter(LineFilter):
    """Replaces each sign by one of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text.translate(_ASCII), style, control) for text, style, control in segments]


LOOK_S = 1.0
"""Seconds between two checks that the terminal is there: no signal tells a process that does not own it."""


class _Lasting:
    """Throws away what is written for a terminal that has gone: an error would end the writing thread, and
    whoever writes then waits for that thread for ever.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._do(self._file.write, text)

    def flush(self) -> None:
        self._do(self._file.flush)

    def fileno(self) -> int:
        return int(self._file.fileno())

    def isatty(self) -> bool:
        return bool(self._file.isatty())

    def _do(self, act: Any, *words: str) -> None:
        try:
            act(*words)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


class SteadyDriver(LinuxDriver):
    """A driver that continues writing, whatever becomes of the terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = _Lasting(sys.__stderr__)


class SteadyPage(Screen[int]):
    """A page that fills the terminal, alone or above another one. It is dismissed with an exit status."""

    refusal = ""

    def crashed(self, error: Exception) -> None:
        """End the application, whose command says the error; a refusal only ends a page above another one."""
        assert isinstance(self.app, SteadyApp)
        if isinstance(error, PancodeError) and len(self.app.screen_stack) > 2:
            self.refusal = error.words
            self.dismiss(error.exit_code)
        else:
            self.app.crash = error
            self.app.exit(1)

    def pressed(self, event: events.Event) -> None:
        """Called for each key and paste, wherever it goes."""

    def tell_unsent(self, say: Callable[[str], object]) -> None:
        """Print what the user has typed and not sent, after the page is gone."""


class SteadyApp(App[int]):
    """A terminal application. `first`: the lowest page, with which it ends; `crash`: what has ended it."""

    CSS = bars.CSS + prose.CSS
    ENABLE_COMMAND_PALETTE = False
    SIGNALS: ClassVar[dict[signal.Signals, int]] = {
        signal.SIGINT: 128 + signal.SIGINT,
        signal.SIGTERM: 128 + signal.SIGTERM,
        signal.SIGHUP: ExitCode.DETACHED,
    }
    """The signals that end the application, with the exit status of each."""

    def __init__(self, first: SteadyPage, theme: Callable[[], str] = lambda: OWN) -> None:
        """`theme`: asks for the name of the theme that counts now, and may wait for the answer."""
        super().__init__(ansi_color=True, driver_class=SteadyDriver)
        self._first, self._ask_theme = first, theme
        self.animation_level = "none"
        self.crash: Exception | None = None

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *([AsciiFilter()] if needs_ascii(os.environ) else [])]

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and isinstance(self.screen, SteadyPage):
            self.screen.pressed(event)
        await super().on_event(event)

    def on_mount(self) -> None:
        self.push_screen(self._first, self.exit)
        self.dress()
        loop = asyncio.get_running_loop()
        for one, status in self.SIGNALS.items():
            loop.add_signal_handler(one, self.exit, status)
        self.set_interval(LOOK_S, self._seen)

    def dress(self) -> None:
        """Ask beside the screen which theme counts, and draw in it. NO_COLOR counts more."""
        if not self.no_color:
            threading.Thread(target=self._dress, daemon=True).start()

    def _dress(self) -> None:
        with suppress(RuntimeError):  # the user has left meanwhile
            self.call_from_thread(self.wear, self._ask_theme())

    def wear(self, name: str) -> None:
        """Draw in this theme; in the terminal's own colours for a name that is none."""
        theme = THEMES.get(name)
        self.ansi_color = theme is None
        self.theme = "textual-light" if name == "light" else "textual-dark"
        if theme is not None:
            self.ansi_theme_light = self.ansi_theme_dark = theme
        self.refresh_css(animate=False)

    def _seen(self) -> None:
        if terminal_is_gone():
            self.exit(ExitCode.DETACHED)

    def _handle_exception(self, error: Exception) -> None:
        """Keep the error, which the command says after the terminal is restored; draw nothing of it here."""
        self.crash = self.crash or error
        super()._handle_exception(error)
        self._exit_renderables.clear()


def on_screen(page: SteadyPage, theme: Callable[[], str] = lambda: OWN) -> int:
    """Show the page until the user leaves, then restore the terminal; after `kill -9`, run `reset`."""
    app, before = SteadyApp(page, theme), termios.tcgetattr(sys.stdin)
    try:
        status = app.run()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it leaves already, in order
        with suppress(termios.error, OSError, ValueError):  # the terminal may be gone
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
    if app.crash is not None:
        raise app.crash
    return status or 0
