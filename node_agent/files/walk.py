"""Walks a folder of any depth with one open descriptor at a time; follows no links. An agent's tree may
exceed Python's recursion limit, the length of a path and the number of open files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNERS = 0o700

_Inode = tuple[int, int]
_Listed = list[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class WalkedName:
    """A name in the open folder `at`, and its path `way` from the top; valid until the next name."""

    at: int
    name: str
    is_folder: bool
    way: Sequence[str]


def walk_tree(top: Path, opening: bool = False, most: int | None = None) -> Iterator[WalkedName]:
    """Yield everything below `top`, a folder after its content. Folders that cannot be entered are skipped.

    `opening`: first give the owner permission to read, write and enter each folder. Raises OSError if a
    folder is moved meanwhile or has more than `most` names, which no disk quota limits.
    """
    here = _open_folder(None, str(top), opening)
    if here is None:
        return
    place = _Place(here, opening, most)
    try:
        while True:
            if place.left:
                name, is_folder = place.left.pop()
                if not (is_folder and place.enter(name)):
                    yield WalkedName(place.here, name, is_folder, place.way)
            elif (above := place.leave()) is not None:
                yield WalkedName(place.here, above, True, place.way)
            else:
                return
    finally:
        os.close(place.here)


class _Place:
    """The open folder and the path to it. Going up uses `..`, which must lead to the earlier folder."""

    def __init__(self, here: int, opening: bool, most: int | None) -> None:
        self.here, self.opening, self.most = here, opening, most
        self.way: list[str] = []
        self._levels: list[tuple[_Inode, _Listed]] = [(_read_inode(here), _list_folder(here, most))]

    @property
    def left(self) -> _Listed:
        return self._levels[-1][1]

    def enter(self, name: str) -> bool:
        below = _open_folder(self.here, name, self.opening)
        if below is None:
            return False
        os.close(self.here)
        self.here = below
        self.way.append(name)
        self._levels.append((_read_inode(below), _list_folder(below, self.most)))
        return True

    def leave(self) -> str | None:
        """Go up; return the name of the folder that was left, or None at the top."""
        if not self.way:
            return None
        above = os.open("..", _FOLDER, dir_fd=self.here)
        os.close(self.here)
        self.here = above
        self._levels.pop()
        if _read_inode(above) != self._levels[-1][0]:
            raise OSError(errno.ESTALE, "a folder was moved while it was being read")
        return self.way.pop()


def _open_folder(at: int | None, name: str, opening: bool) -> int | None:
    """Return a descriptor of a folder that can be read and left again; None if it cannot be opened."""
    try:
        here = os.open(name, _FOLDER, dir_fd=at)
    except PermissionError:
        here = _force_open(at, name) if opening else -1
    except OSError:
        here = -1
    if here < 0:
        return None
    with suppress(OSError):
        mode = os.fstat(here).st_mode
        if opening and mode & _OWNERS != _OWNERS:
            os.fchmod(here, stat.S_IMODE(mode) | _OWNERS)
    if os.access(".", os.X_OK, dir_fd=here, effective_ids=True):
        return here
    os.close(here)
    return None


def _force_open(at: int | None, name: str) -> int:
    """Open a folder that its owner made inaccessible; -1 for another user's. Safe against a swapped link."""
    try:
        closed = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    except OSError:
        return -1
    try:
        itself = f"/proc/self/fd/{closed}"
        os.chmod(itself, stat.S_IMODE(os.fstat(closed).st_mode) | _OWNERS)
        return os.open(itself, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    finally:
        os.close(closed)


def _read_inode(folder: int) -> _Inode:
    seen = os.fstat(folder)
    return seen.st_dev, seen.st_ino


def _list_folder(folder: int, most: int | None) -> _Listed:
    """Return the names, and whether each is a folder, from the listing; a stat of each would take seconds."""
    with os.scandir(folder) as found:
        until = None if most is None else most + 1
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(found, until)]
    if most is not None and len(names) > most:
        raise OSError(errno.E2BIG, f"a folder has more than {most} names")
    return names
