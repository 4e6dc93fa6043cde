"""Has the folders of attempts that are over serve later ones: a run then makes no new file on the disk.

To make a file is dear where its file system looks at all that were deleted lately, and each needs more syncs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import threading
from dataclasses import dataclass

from node_agent.archive import Archive

MOST = 16
"""Folders that wait: half a megabyte each, reserved for the next one's records."""
TOGETHER = 4
"""So many are given free by one sync of the archive."""
FILES = frozenset(
    {"marks", "records", "plan.json", "spawned", "task", "out", "err", "out.shown", "err.shown"}
)
"""What a run without set-up, gates and gateway has. A folder with anything else stays as it is."""
_SHARED = ("out", "err", "out.shown", "err.shown", "task")
"""What the agent has open, and who sends its logs: one that outlives it might write, or read, another's."""


@dataclass(frozen=True, slots=True)
class Spare:
    """A folder that is free. `end`: up to there its file of marks holds what was another's."""

    name: str
    end: int


class Spares:
    """Under `base`: folders whose names are in the archive. Thread-safe.

    What a process before has left is erased: nothing says how far it had come with it.
    """

    def __init__(self, base: str, archive: Archive) -> None:
        self._base, self._archive = base, archive
        self._lock = threading.Lock()
        self._free: list[Spare] = []
        self._unsure: list[Spare] = []
        """Archived, and not yet durably so."""
        self._swept = False

    def has_room(self, name: str) -> bool:
        """Whether this folder may be kept for another."""
        with self._lock:
            return len(self._free) + len(self._unsure) < MOST and _is_plain(f"{self._base}/{name}")

    def keep(self, name: str, end: int) -> None:
        """It is archived. OSError: as `has_room` would say no."""
        with self._lock:
            self._unsure.append(Spare(name, end))
            if len(self._unsure) >= TOGETHER:
                self._archive.sync()
                self._free += self._unsure
                self._unsure.clear()

    def take(self) -> Spare | None:
        """One that is free, for whoever asks alone."""
        with self._lock:
            if not self._swept:
                self._swept = True
                self._sweep()
            return self._free.pop() if self._free else None

    def give_back(self, spare: Spare) -> None:
        """As it was when it was taken."""
        with self._lock:
            self._free.append(spare)

    def forget(self, name: str) -> None:
        """The folder goes, if it is here."""
        with self._lock:
            for spares in (self._free, self._unsure):
                for spare in [one for one in spares if one.name == name]:
                    spares.remove(spare)
                    shutil.rmtree(f"{self._base}/{name}", ignore_errors=True)

    def _sweep(self) -> None:
        """What a node agent before has left."""
        mine = {one.name for one in self._unsure}
        for name in os.listdir(self._base):
            if name in self._archive and name not in mine:
                shutil.rmtree(f"{self._base}/{name}", ignore_errors=True)


def is_held(folder: str) -> bool:
    """Whether anybody has a file of it open still; also where the file system cannot tell."""
    return any(_is_open(f"{folder}/{name}") for name in _SHARED)


def _is_open(path: str) -> bool:
    """The kernel grants this lease to who has the file for itself alone. It is given back at once."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _is_plain(folder: str) -> bool:
    """Only what a run has by itself, as we make it, and no file that has another name elsewhere."""
    mine = os.geteuid()
    with os.scandir(folder) as found:
        for one in found:
            seen = one.stat(follow_symlinks=False)
            looks = (seen.st_mode, seen.st_uid, seen.st_nlink)
            if one.name not in FILES or looks != (stat.S_IFREG | 0o600, mine, 1):
                return False
    return True
