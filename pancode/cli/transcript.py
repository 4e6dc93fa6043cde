"""Shows a run's stored output as a readable story: for `runs logs`, and live beside a waiting dispatch."""

from __future__ import annotations

import base64
import codecs
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pancode.cli.terminal import Sink
from pancode.client import Client, path_of
from pancode.errors import PancodeError

if TYPE_CHECKING:
    from node_agent.runtimes.transcript import Transcript

MARK = "  | "
"""The mark before each line of a tool's answer, as that reading has it."""
JOIN_S = 3.0
AGAIN_S = 1.0


def _reading(runtime: str, begins: bytes = b"") -> Transcript | None:
    """Pure, and the one reading that there is of what each program prints: docs/adr/0032-one-transcript.md.

    It knows every program of the node agent, so it is loaded where there is something to read.
    """
    from node_agent.runtimes.transcript import transcript_of

    return transcript_of(runtime, begins)


class TranscriptWriter:
    """Takes the bytes of one stream, attempt by attempt, and hands on what is to be shown."""

    def __init__(self, runtime: str, show: Callable[[str], None]) -> None:
        self._runtime, self._show = runtime, show
        self._attempt: str | None = None
        self._transcript: Transcript | None = None
        self._bytes, self._shown = 0, False
        self._plain = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, attempt: str, data: bytes) -> None:
        if attempt != self._attempt:
            self.end()
            self._attempt, self._transcript = attempt, _reading(self._runtime, data)
        self._bytes += len(data)
        transcript = self._transcript
        self._hand_on(self._plain.decode(data) if transcript is None else transcript.feed(data))

    def end(self) -> None:
        """Prints the number of hidden events; where nothing could be read, the place of the raw bytes."""
        if self._transcript is not None:
            self._hand_on(self._transcript.end())
            if self._bytes and not self._shown:
                self._show(
                    "nothing in its output can be read as events; as it is: pancode runs logs --raw RUN\n"
                )
        self._transcript, self._bytes, self._shown = None, 0, False

    def _hand_on(self, text: str) -> None:
        if text:
            self._shown = True
            self._show(text)


def story_for(runtime: str, sink: Sink) -> TranscriptWriter | None:
    """For a runtime whose output is events; None where it is plain text."""
    return transcript_writer(runtime, lambda text: sink.write(text.encode()))


def transcript_writer(runtime: str, show: Callable[[str], None]) -> TranscriptWriter | None:
    """As `story_for`, with any taker of its text."""
    return None if _reading(runtime) is None else TranscriptWriter(runtime, show)


KEPT = 100_000
"""How many characters of the shown output are remembered for the end."""


class LiveTranscript(threading.Thread):
    """Follows a run's output while somebody waits for its end, and shows whole lines of its story."""

    def __init__(self, client: Client, run: str, runtime: str, show: Callable[[str], None]) -> None:
        super().__init__(name="transcript", daemon=True)
        self._client, self._run_id, self._lines = client, run, show
        self._rest = self.shown = ""
        self._story = TranscriptWriter(runtime, self._piece)
        self._attempt: str | None = None
        self._offset = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Cut off, it goes on where it was; what it cannot show is in the log."""
        while not self._over.is_set():
            with suppress(PancodeError, OSError):
                if self._follow():
                    return
            self._over.wait(AGAIN_S)

    def finish(self) -> None:
        """The run has ended: what is on its way is waited for, for a moment."""
        self.join(JOIN_S)
        self._over.set()
        self._story.end()
        self._piece("\n" if self._rest else "")

    def _follow(self) -> bool:
        query = {"follow": "1", "stream": "out", "attempt": self._attempt, "offset": self._offset}
        for event in self._client.events("GET", path_of("runs", self._run_id, "log"), query=query):
            if self._over.is_set() or event.kind == "end":
                return True
            if event.kind == "attempt":
                self._attempt, self._offset = event.data["attempt"], 0
            elif event.kind == "log":
                self._attempt, self._offset = event.data["attempt"], event.data["next"]
                self._story.write(event.data["attempt"], base64.b64decode(event.data["b64"]))
        return False

    def _piece(self, text: str) -> None:
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._lines(line)
            self.shown = f"{self.shown}{line}\n"[-KEPT:]
