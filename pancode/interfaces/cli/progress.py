"""Progress on standard error: a live display on a terminal, else a line for each stage."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.terminal import can_draw, escape_line, format_seconds, make_console
from pancode.interfaces.client.client import Client
from pancode.interfaces.client.connection import NotRunningError
from pancode.kernel.errors import PancodeError
from pancode.runs.answers import STREAMS

if TYPE_CHECKING:
    from typing import Self

    from rich.console import RenderableType
    from rich.live import Live
    from rich.spinner import Spinner


class _Picture:
    """A live display on a terminal. `draws`: whether it is drawn. If the terminal is closed, the command
    continues. `stays`: whether the last state stays on the terminal."""

    def __init__(self, face: Face, *, stays: bool = True) -> None:
        self._face, self._stays = face, stays
        self.draws = not face.as_json and can_draw(sys.stderr)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.draws:
            from rich.live import Live

            console = make_console(sys.stderr)
            self._live = Live(console=console, redirect_stdout=False, transient=not self._stays)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            with suppress(OSError):
                self._live.stop()

    def _say(self, text: str, style: str = "") -> None:
        """Print a permanent line above the progress."""
        if self._live is None:
            self._face.note(text)
            return
        from rich.text import Text

        with suppress(OSError):
            self._live.console.print(Text(text, style), soft_wrap=True)

    def _draw(self, what: RenderableType) -> None:
        if self._live is not None:
            self._live.update(what)


class ProgressRow(_Picture):
    """A line that shows the stage of a run. `leaves`: each stage also leaves a permanent line."""

    def __init__(self, face: Face, *, stays: bool = True, leaves: bool = False) -> None:
        super().__init__(face, stays=stays)
        self._leaves = leaves
        self._stage = self._text = self._grown = ""
        self._lock = threading.Lock()

    def above(self, text: str, dim: bool = False) -> None:
        """Print untrusted text above the progress line."""
        self._say(escape_line(text), "dim" if dim else "")

    def show(self, stage: str, text: str, *, stays: bool = False) -> None:
        """Show the stage. `stays`: print it as a line even if there is no live display."""
        with self._lock:
            if stage != self._stage:
                left = f"{self._text}{self._grown}" if self.draws else text
                if left.strip() and (self._leaves or (stays and not self.draws)):
                    self._say(left)
            self._stage, self._text = stage, text
            self._redraw()

    def grow(self, more: str) -> None:
        """Append this text to the line until the stage ends; another thread may call this."""
        with self._lock:
            self._grown = more
            self._redraw()

    def _redraw(self) -> None:
        if self.draws and self._stage:
            from rich.text import Text

            self._draw(Text(self._text + self._grown, no_wrap=True, overflow="ellipsis"))


class Steps(_Picture):
    """A display of each node's step during a start; prints each failed step (`verbose`: each step)."""

    def __init__(self, face: Face, *, verbose: bool = False) -> None:
        super().__init__(face, stays=False)
        self._verbose = verbose
        self._at: dict[str, Spinner] = {}

    def show(self, step: dict[str, Any]) -> None:
        begun = step["state"] == "started"
        if begun and self.draws:
            from rich.spinner import Spinner
            from rich.text import Text

            text = Text(_format_step(step), no_wrap=True, overflow="ellipsis")
            self._at[step["node"]] = Spinner("line", text)
        else:
            self._at.pop(step["node"], None)
            if self._verbose or step["state"] in ("failed", "note"):
                self._say(_format_step(step))
        if self.draws:
            from rich.console import Group

            self._draw(Group(*self._at.values()))


_MARKS = {"started": "...", "done": "ok", "skipped": "ok, unchanged", "failed": "FAILED", "note": ""}


def _format_step(step: dict[str, Any]) -> str:
    lasted = f"  {step['seconds']:.1f} s" if step["seconds"] >= 0.1 else ""
    words = f"  {escape_line(step['text'])}" if step["text"] else ""
    return f"  {step['node']:<12} {step['step']:<10} {_MARKS[step['state']]}{lasted}{words}"


LOOK_S = 1.0
SETUP, OTHERS = "setup", {"out", "err", "gates.log"}


class SetUpLine:
    """The last line of the output of a run's setup, read from the run's log."""

    def __init__(self, client: Client, run: str) -> None:
        self._client, self._run = client, run
        self._attempt, self._offset, self._last = "", 0, ""

    def look(self) -> str:
        """Return the last line that setup wrote; "" before it writes, and once agent or gates have output."""
        attempt, names = next(reversed(self._client.get(STREAMS.at(self._run))["streams"].items()), ("", []))
        if SETUP not in names or OTHERS.intersection(names):
            return ""
        if attempt != self._attempt:
            self._attempt, self._offset, self._last = attempt, 0, ""
        data = self._client.log(self._run, SETUP, attempt, self._offset).data
        self._offset += len(data)
        lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
        self._last = lines[-1] if lines else self._last
        return escape_line(self._last)


class SetUpTimer:
    """A timer that calls `show` once a second until closed, with the setup's duration and its last line."""

    def __init__(self, line: SetUpLine, show: Callable[[str], None]) -> None:
        self._line, self._show = line, show
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show_ticks, name="clock", daemon=True)

    def __enter__(self) -> SetUpTimer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(LOOK_S)

    def _show_ticks(self) -> None:
        for looks in count(1):
            if self._over.wait(LOOK_S):
                return
            text = ""
            with suppress(PancodeError, NotRunningError, OSError, ValueError, KeyError):
                text = self._line.look()
            self._show(f"  {format_seconds(int(looks * LOOK_S))}{f'  set-up: {text}' if text else ''}")
