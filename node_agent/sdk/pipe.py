"""The pipes to an SDK's driver: lines cost no more than their length, and no wait outlasts the run."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator

from node_agent.chat.limits import Over
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind

PIECE = 1 << 16
MOST_LINE = 64 << 20
"""The longest line from the driver; a tool call is no larger."""


class Pipe:
    """The pipe to one driver. Each wait ends with Over when the run's time does."""

    def __init__(self, process: subprocess.Popen[bytes], clock: Clock, until_ms: int) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        self._clock, self._until_ms = clock, until_ms
        os.set_blocking(self._in, False)  # a driver may not listen for as long as it likes

    def send(self, line: bytes) -> None:
        """Raises BrokenPipeError for a driver that is gone."""
        left = memoryview(line + b"\n")
        while left:
            self._wait([], [self._in])
            left = left[os.write(self._in, left[:PIECE]) :]

    def lines(self) -> Iterator[bytes]:
        """The lines without their ends, until the driver is gone; an unfinished line does not count."""
        parts: list[bytes] = []
        size = 0
        while data := self._read():
            *whole, rest = data.split(b"\n")
            if whole:
                yield b"".join((*parts, whole[0]))
                yield from whole[1:]
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            if size > MOST_LINE:
                words = f"its driver told more than {MOST_LINE} bytes at once"
                raise Over(FailureKind.RUNTIME_UNREADABLE, words)

    def _read(self) -> bytes:
        self._wait([self._out], [])
        return os.read(self._out, PIECE)

    def _wait(self, reads: list[int], writes: list[int]) -> None:
        left = self._until_ms - self._clock.mono_ms()
        if left <= 0 or not any(select.select(reads, writes, [], left / 1000)):
            raise Over(FailureKind.WALL_LIMIT, "the time limit was reached")
