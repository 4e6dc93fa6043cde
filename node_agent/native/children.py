"""The worker's running child processes: a signal ends them with the worker, also while one starts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any


class Children:
    """The child processes of one thread, in which the signal handlers run, too."""

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self.alive: list[subprocess.Popen[bytes]] = []
        self._leave, self._starting = leave, 0
        self._due: int | None = None

    def start(self, argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        """It works before we know of it: a signal in between waits until we do."""
        self._starting += 1
        try:
            process = subprocess.Popen(argv, **how)
            self.alive.append(process)
        finally:
            self._starting -= 1
            if self._due is not None:
                self.end(self._due)
        return process

    def over(self, process: subprocess.Popen[bytes]) -> None:
        """The child is over: end everything that is left of its group."""
        kill_group(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self.alive.remove(process)

    def end(self, status: int) -> None:
        """End all children, and leave with this status. For a signal handler."""
        if self._starting:
            self._due = status
            return
        for process in self.alive:
            kill_group(process)
            process.kill()
        self._leave(status)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the group without waiting: the signal may have come during a wait. A child without a group is left
    alone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


CHILDREN = Children()
"""Of this worker."""
