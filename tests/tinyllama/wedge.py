"""Freezes the thread of this process that decodes, as a server that is wedged does (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

FREEZE, THAW = signal.SIGRTMIN + 4, signal.SIGRTMIN + 5


class Wedge:
    """A real-time signal to one thread, whose handler is the C library's `pause()`."""

    def __init__(self, thread: int) -> None:
        self._libc, self._thread, self._frozen = ctypes.CDLL(None), thread, False
        self._libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        for number, handler in ((FREEZE, self._libc.pause), (THAW, self._libc.abs)):
            self._libc.signal(number, ctypes.cast(handler, ctypes.c_void_p))

    def set(self, frozen: bool) -> None:
        if frozen != self._frozen:
            self._frozen = frozen
            self._libc.tgkill(os.getpid(), self._thread, FREEZE if frozen else THAW)
            for _ in range(3_000):
                if self._stands() is frozen:
                    break
                time.sleep(0.01)

    def _stands(self) -> bool:
        """Whether the thread is within the handler, which holds its own signal back."""
        status = Path(f"/proc/self/task/{self._thread}/status").read_text()
        blocked = next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
        return bool(int(blocked, 16) >> (FREEZE - 1) & 1)


def thread_times() -> dict[int, int]:
    """Nanoseconds of CPU by thread of this process."""
    found: dict[int, int] = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return found
