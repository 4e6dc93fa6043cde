"""Shows a run's stored output as a readable story beside a dispatch that waits for its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from pancode.client import Client
from pancode.errors import PancodeError
from pancode.talk.attached import followed_log
from pancode.talk.lines import LogStory

JOIN_S = 3.0
KEPT = 100_000
"""How many characters of the shown output are remembered for the end."""


class LiveTranscript(threading.Thread):
    """Follows a run's output while somebody waits for its end, and shows whole lines of its story."""

    def __init__(self, client: Client, run: str, runtime: str, show: Callable[[str], None]) -> None:
        super().__init__(name="transcript", daemon=True)
        self._client, self._run_id, self._lines = client, run, show
        self._rest = self.shown = ""
        self._story = LogStory(runtime, self._piece)
        self._over = threading.Event()

    def run(self) -> None:
        """Cut off, it goes on where it was; what it cannot show is in the log."""
        with suppress(PancodeError, OSError):
            told = followed_log(
                lambda gap: None, self._client, self._run_id, "out", wanted=lambda: not self._over.is_set()
            )
            for part in told:
                self._story.write(part.attempt, part.data)

    def finish(self) -> None:
        """The run has ended: what is on its way is waited for, for a moment."""
        self.join(JOIN_S)
        self._over.set()
        self._story.end()
        self._piece("\n" if self._rest else "")

    def _piece(self, text: str) -> None:
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._lines(line)
            self.shown = f"{self.shown}{line}\n"[-KEPT:]
