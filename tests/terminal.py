"""A user at a real terminal: a command with a pseudo-terminal of its own, typed at and read from."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from node_agent.wire.clock import SystemClock

MOST_S = 400.0
_CLOCK = SystemClock()


class Terminal:
    """One command on a terminal of this size. `told`: all that was shown so far."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        size: tuple[int, int],
        *,
        hears: bool = True,
    ) -> None:
        """`hears`: the kernel sends it the signals of this terminal, as it does to what a shell runs."""
        self._own, far = os.openpty()
        self.resize(*size)
        own = ["setsid", "-c"] if hears else ["setsid"]
        self.process = subprocess.Popen(
            [*own, *argv], env={**env, "TERM": "xterm"}, cwd=cwd, stdin=far, stdout=far, stderr=far
        )
        os.close(far)
        self.told = ""
        self._seen = 0

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def types(self, text: str) -> None:
        os.write(self._own, text.encode())

    def shows(self, words: str, most_s: float = MOST_S) -> str:
        """Wait until this is on the screen, behind what was waited for before; all that stands before it."""
        end = _CLOCK.boot_ms() + most_s * 1000
        while words not in self.told[self._seen :]:
            assert _CLOCK.boot_ms() < end and self._read(), f"{words!r} did not come: {self.told!r}"
        at = self.told.index(words, self._seen) + len(words)
        seen, self._seen = self.told[self._seen : at], at
        return seen

    def goes_on(self, seconds: float) -> None:
        """Take what it shows for so long; it must not end."""
        end = _CLOCK.boot_ms() + seconds * 1000
        while _CLOCK.boot_ms() < end:
            assert self._read(), f"it has ended: {self.told!r}"

    def goes_away(self) -> None:
        """Its window is closed: nobody has the other end any more, and the kernel says so where it can."""
        os.close(self._own)
        self._own = -1

    def ends(self) -> int:
        """Its exit status, once it is over; all that it still showed is read."""
        while self._read():
            pass
        return self.process.wait(60)

    def close(self) -> None:
        """End it, if it still runs. Idempotent."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self._own >= 0:
            self.goes_away()

    def _read(self) -> bool:
        """False when there will be no more."""
        if not select.select([self._own], [], [], 1)[0]:
            return self.process.poll() is None
        try:
            piece = os.read(self._own, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self.told += piece.decode("utf-8", "replace")
        return bool(piece)
