"""An application on the whole terminal that leaves it as it was, whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any, ClassVar

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from pancode.caller import terminal_is_gone
from pancode.errors import ExitCode

LOOK_S = 1.0
"""So often it looks whether the terminal is there: no signal tells it to who does not own the terminal."""


class _Lasting:
    """What is written for a terminal that has gone is thrown away: an error would end the thread that writes,
    and whoever writes then waits for that thread for ever."""

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
    """Writes on, whatever becomes of the terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = _Lasting(sys.__stderr__)


class SteadyApp(App[int]):
    """`crash`: the defect that has ended it."""

    ENABLE_COMMAND_PALETTE = False
    SIGNALS: ClassVar[dict[signal.Signals, int]] = {
        signal.SIGTERM: 128 + signal.SIGTERM,
        signal.SIGHUP: ExitCode.DETACHED,
    }
    """They end it, with this status."""

    def __init__(self) -> None:
        super().__init__(ansi_color=True, driver_class=SteadyDriver)
        self.crash: Exception | None = None

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for one, status in self.SIGNALS.items():
            loop.add_signal_handler(one, self.exit, status)
        self.set_interval(LOOK_S, self._seen)

    def _seen(self) -> None:
        if terminal_is_gone():
            self.exit(ExitCode.DETACHED)

    def _handle_exception(self, error: Exception) -> None:
        """The terminal is restored; the command says the error, so nothing of it is drawn here."""
        self.crash = self.crash or error
        super()._handle_exception(error)
        self._exit_renderables.clear()
