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

from node_agent.files.durable import overwrite
from node_agent.journal.archive import Archive
from node_agent.shim.taken import taken_by

MOST = 16
"""Folders that wait: half a megabyte each, reserved for the next one's records."""
TOGETHER = 4
"""So many are given free by one sync of the archive."""
EMPTIED = frozenset({"task", "out", "err", "out.shown", "err.shown"})
"""What the next one would add to. In an attempt that was rejected they are kept."""
FILES = frozenset({"marks", "records", "plan.json", "spawned"}) | EMPTIED
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
            room = self._archive.sound and len(self._free) + len(self._unsure) < MOST
            return room and _is_plain(f"{self._base}/{name}")

    def keep(self, name: str, end: int) -> None:
        """It is archived. OSError: as `has_room` would say no."""
        with self._lock:
            self._unsure.append(Spare(name, end))
            if len(self._unsure) >= TOGETHER and self._archive.sound:
                self._archive.sync()
                self._free += self._unsure
                self._unsure.clear()

    def take(self) -> Spare | None:
        """One that is free, for whoever asks alone."""
        with self._lock:
            if not self._swept:
                self._sweep()
            while self._free:
                spare = self._free.pop()
                if _is_plain(f"{self._base}/{spare.name}"):
                    return spare
                self._erase(spare.name)
            return None

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
                    self._erase(name)
            if not self._swept:  # it may have been a process before that kept it
                self._erase(name)

    def _sweep(self) -> None:
        """What a node agent before has left. It may have ended before its archive was durable."""
        mine = {one.name for one in self._unsure}
        try:
            if not self._archive.sound:
                return
            self._archive.sync()
            names = os.listdir(self._base)
        except OSError:
            return
        self._swept = True
        for name in names:
            if name in self._archive and name not in mine:
                self._erase(name)

    def _erase(self, name: str) -> None:
        shutil.rmtree(f"{self._base}/{name}", ignore_errors=True)


def empty(path: str) -> None:
    """Durably: a power cut must not show it to who has the file next.

    What is no plain file of ours to write goes: a link, or what an agent has made of it.
    """
    seen = os.lstat(path)
    if stat.S_ISDIR(seen.st_mode):
        shutil.rmtree(path)
    elif not stat.S_ISREG(seen.st_mode) or not seen.st_mode & stat.S_IWUSR:
        os.unlink(path)
    elif seen.st_size:
        overwrite(path, b"")


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
    try:
        with os.scandir(folder) as found:
            whole = all(_is_as_made(one.name, one.stat(follow_symlinks=False), mine) for one in found)
        taken = taken_by(folder) if whole else None
        return whole and (taken is None or bool(taken[1]))
    except OSError:
        return False


def _is_as_made(name: str, seen: os.stat_result, mine: int) -> bool:
    looks = (seen.st_mode, seen.st_uid, seen.st_nlink)
    ours = name in FILES and looks == (stat.S_IFREG | 0o600, mine, 1)
    return ours and not (name in EMPTIED and seen.st_size)
