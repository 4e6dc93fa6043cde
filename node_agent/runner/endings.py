"""Waits for the first word of a shim, for the end of its phase, and for that of a process; takes no CPU."""

from __future__ import annotations

import os
import select
import time
from threading import Lock

POLL_MS = 50
OVER = -1
"""In the place of a pipe: that phase has ended."""


class Endings:
    """The pipes of phases that this process has started: each ends with its phase.

    A shim that may serve another phase does not end with the first. Thread-safe.
    """

    def __init__(self) -> None:
        self._pipes: dict[str, int] = {}
        self._lock = Lock()

    def keep(self, folder: str, pipe: int) -> None:
        self._put(folder, pipe)

    def over(self, folder: str) -> None:
        """Its end was seen: the pipe is of no more use, while its shim may well serve another phase."""
        if self._pipes.get(folder, OVER) != OVER:
            self._put(folder, OVER)

    def wait(self, folder: str, shim: int, ms: int) -> None:
        """For the end of its phase; for that of the shim where another process of this node started it."""
        known, pipe = self._copied(folder)
        if not known:
            await_end(shim, ms)
        if pipe == OVER:
            return
        try:
            if _is_over(pipe, ms):
                # Of one that was started cold it says nothing: from now on its process does.
                self.forget(folder)
        finally:
            os.close(pipe)

    def forget(self, folder: str) -> None:
        with self._lock:
            self._closed(self._pipes.pop(folder, OVER))

    def _put(self, folder: str, pipe: int) -> None:
        with self._lock:
            self._closed(self._pipes.get(folder, OVER))
            self._pipes[folder] = pipe

    def _copied(self, folder: str) -> tuple[bool, int]:
        """Whether it was started here, and a pipe of our own: another thread may close that of all."""
        with self._lock:
            pipe = self._pipes.get(folder, OVER)
            return folder in self._pipes, pipe if pipe == OVER else os.dup(pipe)

    @staticmethod
    def _closed(pipe: int) -> None:
        if pipe != OVER:
            os.close(pipe)

    def close(self) -> None:
        for folder in [*self._pipes]:
            self.forget(folder)


def heard(pipe: int, ms: int) -> str:
    """`spawned`, or what the shim could not do, or nothing when it died or took too long."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return os.read(pipe, 1024).decode("utf-8", "replace") if poll.poll(ms) else ""


def await_end(pid: int, ms: int) -> None:
    """Of a process, or until the time is over."""
    try:
        fd = os.pidfd_open(pid)
    except (OSError, AttributeError) as exc:
        if not isinstance(exc, ProcessLookupError):  # a kernel or an interpreter without pidfd
            time.sleep(min(ms, POLL_MS) / 1000)
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(ms)
    finally:
        os.close(fd)


def _is_over(pipe: int, ms: int) -> bool:
    """Whether nobody holds the other end any more, now or within so long."""
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(ms))
