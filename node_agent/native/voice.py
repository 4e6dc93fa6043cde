"""Writes the worker's events as lines of JSON, the model's text in pieces; reads people's words."""

from __future__ import annotations

import contextlib
import json
import os

from node_agent.wire.clock import Clock
from node_agent.wire.identity import ATTEMPT, words_in

PIECE, LATEST_MS = 400, 1000
"""A piece of text is told when it is so long, or when the last one was told so long ago."""
MOST_WORDS = 40_000
"""Bytes of one file that are read."""
SAYS = "A person adds, while you work: {}"


class Voice:
    """`fd`: where to. Counts what was written."""

    def __init__(self, clock: Clock, fd: int = 1) -> None:
        self._clock, self._fd = clock, fd
        self._text: list[str] = []
        self._size, self._last = 0, clock.mono_ms()
        self.written = 0

    def say(self, text: str) -> None:
        """A piece of what the model says."""
        self._text.append(text)
        self._size += len(text)
        now = self._clock.mono_ms()
        if self._size >= PIECE or now - self._last >= LATEST_MS:
            self.flush()

    def flush(self) -> None:
        """Tell what is held back."""
        text, self._text, self._size = "".join(self._text), [], 0
        self._last = self._clock.mono_ms()
        if text:
            self._write({"type": "said", "text": text})

    def tell(self, kind: str, **fields: object) -> None:
        """An event, after what was said before it."""
        self.flush()
        self._write({"type": kind, **fields})

    def _write(self, event: dict[str, object]) -> None:
        data = json.dumps(event, ensure_ascii=True).encode() + b"\n"
        self.written += len(data)
        while data:
            data = data[os.write(self._fd, data) :]


class PersonWords:
    """`home`: of the run; `attempt`: whose words count there; a session's home may have others."""

    def __init__(self, home: str, attempt: str, voice: Voice) -> None:
        self._folder, self._voice = os.path.join(home, words_in(attempt)), voice
        self._seen: set[str] = set()

    @classmethod
    def of(cls, home: str, voice: Voice) -> PersonWords:
        """Those for the attempt that this process is of."""
        return cls(home, os.environ.get(ATTEMPT, ""), voice)

    def new(self) -> str:
        """All that was said since the last look, oldest first; empty: nothing. It counts as heard."""
        told = []
        for name in self._names():
            self._seen.add(name)
            text = self._text(name)
            if text:
                told.append(SAYS.format(text))
                self._voice.tell("heard", number=int(name))
        return "\n\n".join(told)

    def _names(self) -> list[str]:
        try:
            found = os.listdir(self._folder)
        except OSError:
            return []
        return sorted((one for one in found if one.isdecimal() and one not in self._seen), key=int)

    def _text(self, name: str) -> str:
        with contextlib.suppress(OSError), open(os.path.join(self._folder, name), "rb") as file:
            return file.read(MOST_WORDS).decode("utf-8", "replace")
        return ""
