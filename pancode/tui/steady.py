"""An application on the whole terminal that leaves it as it was, whatever ends it."""

from __future__ import annotations

import asyncio
import signal
from typing import ClassVar

from textual.app import App


class SteadyApp(App[int]):
    """`crash`: the defect that has ended it."""

    ENABLE_COMMAND_PALETTE = False
    SIGNALS: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM, signal.SIGHUP)
    """They end it, with a status of their own."""

    def __init__(self) -> None:
        super().__init__(ansi_color=True)
        self.crash: Exception | None = None

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for one in self.SIGNALS:
            loop.add_signal_handler(one, self.exit, 128 + one)

    def _handle_exception(self, error: Exception) -> None:
        """The terminal is restored; the command says the error, so nothing of it is drawn here."""
        self.crash = self.crash or error
        super()._handle_exception(error)
        self._exit_renderables.clear()
