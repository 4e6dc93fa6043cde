"""Wakes a thread that waits for changes of files, with the kernel's inotify."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from node_agent.wire.clock import Clock

_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
# a file is written to, or a name appears in a folder; the path itself may not be a link
_MASK = 0x00000002 | 0x00000080 | 0x00000100 | 0x02000000
_MOST_BYTES = 1 << 16
GAP_MS = 100
"""The least time between two wakes, so that a program that always writes cannot keep the thread busy, and the
interval for looking where nothing is watched: at first, or if the kernel has no instance or watch left."""


class FileChanges:
    """The changes of some files and folders since the last `take`. Use it as a context; not thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.fd: int | None = None
        """Readable when something has changed; None: nothing is watched, so look again after `GAP_MS`."""
        self._taken_ms = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def take(self, paths: Iterable[Path]) -> None:
        """Forget the changes so far and watch these paths; a path that does not exist is left out. What
        changes after this call makes `fd` readable, so look at the files now."""
        import ctypes  # imported only here, as most node agents watch nothing

        libc = ctypes.CDLL(None)
        if self.fd is None and (fd := int(libc.inotify_init1(_FLAGS))) >= 0:
            self.fd = fd
        if self.fd is None:
            return
        time.sleep(max(0, self._taken_ms + GAP_MS - self._clock.mono_ms()) / 1000)
        self._taken_ms = self._clock.mono_ms()
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, _MOST_BYTES):
                pass
        for path in paths:
            if libc.inotify_add_watch(self.fd, os.fsencode(path), _MASK) < 0 and path.exists():
                return self.__exit__()  # the user's watches are in use, too
