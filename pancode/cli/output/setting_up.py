"""Shows the last line of set-up's output and a clock, on a terminal, until the agent writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from pancode.cli.output.render import safe, took
from pancode.client import Client, path_of
from pancode.connection import NotRunningError
from pancode.errors import PancodeError

LOOK_S = 1.0
SETUP, OTHERS = "setup", {"out", "err", "gates.log"}


class SetUpLine:
    """Reads what has come since the last look."""

    def __init__(self, client: Client, run: str) -> None:
        self._client, self._run = client, run
        self._attempt, self._offset, self._last = "", 0, ""

    def look(self) -> str:
        """The last line that set-up wrote; empty before it, and from when anything else of the run writes."""
        by_attempt = self._client.get(path_of("runs", self._run, "streams"))["streams"]
        attempt, names = next(reversed(by_attempt.items()), ("", []))
        if SETUP not in names or OTHERS.intersection(names):
            return ""
        if attempt != self._attempt:
            self._attempt, self._offset, self._last = attempt, 0, ""
        data = self._client.log(self._run, SETUP, attempt, self._offset).data
        self._offset += len(data)
        lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
        self._last = lines[-1] if lines else self._last
        return safe(self._last)


class SetUpTimer:
    """Tells `show` once a second how long that goes on, and what set-up says, until it is closed."""

    def __init__(self, line: SetUpLine, show: Callable[[str], None]) -> None:
        self._line, self._show = line, show
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name="clock", daemon=True)

    def __enter__(self) -> SetUpTimer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(LOOK_S)

    def _go(self) -> None:
        for looks in count(1):
            if self._over.wait(LOOK_S):
                return
            text = ""
            with suppress(PancodeError, NotRunningError, OSError, ValueError, KeyError):
                text = self._line.look()
            self._show(f"  {took(int(looks * LOOK_S))}{f'  set-up: {text}' if text else ''}")
