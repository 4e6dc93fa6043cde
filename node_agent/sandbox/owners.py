"""Gives each attempt a user id of its own where the node agent is root."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

from node_agent.files.durable import create_exclusive
from node_agent.sandbox.detect import UID, UIDS

FOLDER = "owners"


def living() -> set[int]:
    """The user ids that have a process on this machine."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.add(os.stat(f"/proc/{name}").st_uid)
            except OSError:  # it has ended
                continue
    return found


class UserIdPool:
    """Thread-safe, and kept over a restart: a file for each id, with the attempt that has it.

    Two attempts with one id could end each other's processes and would share one limit of them.
    """

    def __init__(self, folder: Path, count: int = UIDS, living: Callable[[], set[int]] = living) -> None:
        self._folder, self._count, self._living = folder, count, living
        self._lock = threading.Lock()

    def owner_of(self, attempt: str) -> int:
        """The same one whenever it is asked for. OSError when none is free or none can be kept."""
        with self._lock:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            assigned = {int(one.name): one for one in self._folder.iterdir() if one.name.isdigit()}
            for uid, place in assigned.items():
                if place.read_bytes() == attempt.encode():
                    os.utime(place)
                    return uid
            return self._assign(attempt, assigned)

    def _assign(self, attempt: str, assigned: dict[int, Path]) -> int:
        busy = self._living()  # other fleets' attempts on this machine, too
        first = zlib.crc32(attempt.encode()) % self._count
        every = [UID + (first + step) % self._count for step in range(self._count)]
        free = [uid for uid in every if uid not in busy]
        # When all have been given once, the one goes first that nobody has asked for the longest.
        free.sort(key=lambda uid: assigned[uid].stat().st_mtime_ns if uid in assigned else 0)
        if not free:
            raise OSError("no user id is free for this attempt: all have processes")
        if free[0] in assigned:
            assigned[free[0]].unlink()
        create_exclusive(self._folder / str(free[0]), attempt.encode())
        return free[0]
