"""Keeps folders of attempts in which nothing was left, for later attempts: making them anew costs far more.

An inode is dear where many are made and deleted: a file system without a journal looks at each one that was
deleted lately before it gives out another.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

BELOW: dict[str, frozenset[str]] = {
    "": frozenset({"tree", "home"}),
    "tree": frozenset(),
    "home": frozenset({"tmp"}),
    "home/tmp": frozenset(),
}
"""A new attempt's folders without a repository, each with what is in it."""
MOST = 16
Stamps = tuple[tuple[int, int, int], ...]
"""Of the folders within, what changes with everything that is done in or to them."""


class Spares:
    """Folders in waiting, under `root`. Thread-safe; what a crash leaves there is used or stays."""

    def __init__(self, root: Path, most: int = MOST) -> None:
        self._root, self._most = root, most
        self._lock = threading.Lock()
        self._names: list[str] | None = None  # until somebody asks
        self._as_new: dict[str, Stamps] = {}
        """By path, as this process has seen them: of those in waiting, and of those that were given."""

    def take(self, folder: Path) -> bool:
        """Put one where there is nothing yet; False when none is at hand."""
        with self._lock:
            names = self._known()
            while names:
                spare = self._root / names.pop()
                stamps = self._stamps_as_new(spare)
                if stamps is None:
                    continue
                with suppress(OSError):
                    os.rename(spare, folder)
                    self._as_new[str(folder)] = stamps
                    return True
        return False

    def keep(self, folder: Path) -> bool:
        """Take it in exchange for nothing, if it is as it was made. Else it stays where it is: False."""
        with self._lock:
            names = self._known()
            stamps = self._stamps_as_new(folder)
            if len(names) >= self._most or stamps is None:
                return False
            try:
                self._put(folder)
            except OSError:
                return False
            names.append(folder.name)
            self._as_new[str(self._root / folder.name)] = stamps
            return True

    def _stamps_as_new(self, folder: Path) -> Stamps | None:
        """None when it is not as it was made. What nobody has touched since is not looked through again."""
        known = self._as_new.pop(str(folder), None)
        try:
            device = os.lstat(folder).st_dev
            stamps = _stamps(folder)
            within = list(BELOW.items()) if stamps != known else [("", BELOW[""])]
            whole = all(_is_untouched(f"{folder}/{way}", names, device) for way, names in within)
        except OSError:
            return None
        return stamps if whole else None

    def _put(self, folder: Path) -> None:
        there = self._root / folder.name
        try:
            os.rename(folder, there)
        except FileNotFoundError:
            self._root.mkdir(mode=0o700, exist_ok=True)
            os.rename(folder, there)

    def _known(self) -> list[str]:
        if self._names is None:
            self._names = []
            with suppress(FileNotFoundError):
                self._names = os.listdir(self._root)
        return self._names


def _stamps(folder: Path) -> Stamps:
    """Not of the folder itself, which is renamed."""
    seen = [os.lstat(f"{folder}/{way}") for way in BELOW if way]
    return tuple((one.st_dev, one.st_ino, one.st_ctime_ns) for one in seen)


def _is_untouched(path: str, names: frozenset[str], device: int) -> bool:
    """Ours alone to use, on that device, with nothing in or on it but these names.

    Attributes of the system's own, such as a label of SELinux, are on every folder there.
    """
    seen = os.lstat(path)
    if seen.st_mode != stat.S_IFDIR | 0o700 or (seen.st_uid, seen.st_dev) != (os.geteuid(), device):
        return False
    attributes = os.listxattr(path, follow_symlinks=False)
    return set(os.listdir(path)) == names and all(name.startswith("security.") for name in attributes)
