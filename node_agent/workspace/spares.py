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


class Spares:
    """Folders in waiting, under `root`. Thread-safe; what a crash leaves there is used or stays."""

    def __init__(self, root: Path, most: int = MOST) -> None:
        self._root, self._most = root, most
        self._lock = threading.Lock()
        self._names: list[str] | None = None  # until somebody asks

    def take(self, folder: Path) -> bool:
        """Put one where there is nothing yet; False when none is at hand."""
        with self._lock:
            names = self._known()
            while names:
                spare = self._root / names.pop()
                if not _is_as_new(spare):
                    continue
                with suppress(OSError):
                    os.rename(spare, folder)
                    return True
        return False

    def keep(self, folder: Path) -> bool:
        """Take it in exchange for nothing, if it is as it was made. Else it stays where it is: False."""
        with self._lock:
            names = self._known()
            if len(names) >= self._most or not _is_as_new(folder):
                return False
            try:
                self._put(folder)
            except OSError:
                return False
            names.append(folder.name)
            return True

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


def _is_as_new(folder: Path) -> bool:
    """Whether exactly the folders are there, ours alone to use, on one device, with nothing in or on them."""
    try:
        device = os.lstat(folder).st_dev
        return all(_is_untouched(f"{folder}/{way}", names, device) for way, names in BELOW.items())
    except OSError:
        return False


def _is_untouched(path: str, names: frozenset[str], device: int) -> bool:
    """Attributes of the system's own, such as a label of SELinux, are on every folder there."""
    seen = os.lstat(path)
    if seen.st_mode != stat.S_IFDIR | 0o700 or (seen.st_uid, seen.st_dev) != (os.geteuid(), device):
        return False
    attributes = os.listxattr(path, follow_symlinks=False)
    return set(os.listdir(path)) == names and all(name.startswith("security.") for name in attributes)
