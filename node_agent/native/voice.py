"""Writes the worker's events as lines of JSON; the model's text is written in pieces as it arrives."""

from __future__ import annotations

import json
import os

from node_agent.wire.clock import Clock

PIECE, LATEST_MS = 400, 1000
"""A piece of text is told when it is so long, or when the last one was told so long ago."""


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
