"""Ensures that only one coordinator runs per home, with a lock that ends with its process."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pancode.kernel.errors import UnavailableError
from pancode.kernel.processes import ProcessId

LOCK = "run/coordinator.lock"
PID = "run/coordinator.pid"


class AlreadyRunningError(UnavailableError):
    """Another coordinator is running on this home."""

    code = "already_running"
    retryable = False


class HomeLock:
    """The right to be the coordinator of a home. The lock decides; the pid file only names the process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = os.fspath(root / LOCK)
        self._handle: int | None = None

    def take(self) -> None:
        """Take the lock. AlreadyRunningError, with the pid, if another process has it."""
        (self._root / "run").mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(handle)
            holder = holder_of(self._root)
            who = f"pid {holder.pid}" if holder is not None else "its process id is not known yet"
            fix = "to use it: pancode node ls; to stop it: pancode fleet down; for another fleet: "
            fix += "set PANCODE_HOME"
            raise AlreadyRunningError(
                f"a coordinator is already running for {self._root}, {who}",
                why="a home can have only one coordinator",
                fix=fix,
            ) from exc
        self._handle = handle
        me = ProcessId.me()
        draft = self._root / f"{PID}.{me.pid}"
        draft.write_text(json.dumps(asdict(me)) + "\n")
        draft.replace(self._root / PID)

    def held(self) -> bool:
        """Whether this process's lock file is still the one in the home; not if the home was removed."""
        if self._handle is None:
            return False
        try:
            there, ours = os.stat(self._lock), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def leave(self) -> None:
        """Release the lock. Idempotent."""
        if self._handle is not None:
            (self._root / PID).unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def holder_of(root: Path) -> ProcessId | None:
    """Return the coordinator that runs on the home; None if none runs, even if a stale pid file names one."""
    with suppress(OSError, ValueError, TypeError):
        known = ProcessId(**json.loads((root / PID).read_text()))
        if known.alive():
            return known
    return None
