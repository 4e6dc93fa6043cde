"""Keeps a program's home as its launch laid it, over its starts in a sitting: what it remembers stays, and
nothing that its agent has put beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path


class ProgramHome:
    """`memory`: names below `home` that are what the program remembers; `folders`: where it has its settings.
    Made before its first start."""

    def __init__(self, home: str, memory: Sequence[str], folders: Sequence[str]) -> None:
        self._home, self._memory, self._folders = Path(home), tuple(memory), frozenset(folders)
        self._laid = frozenset(self._names(self._home))

    def begin_anew(self) -> None:
        """Take away what is neither laid nor remembered, where programs look for settings. Follows no link.

        The other folders of the home are ours: words of people, answers to calls. What cannot be taken away
        is read-only, so it was laid.
        """
        with suppress(OSError):
            for name in os.listdir(self._home):
                if name in self._folders or name.startswith("."):
                    self._clear(name)

    def _clear(self, name: str) -> None:
        path = self._home / name
        if any(name == one or name.startswith(f"{one}/") for one in self._memory):
            return
        if path.is_dir() and not path.is_symlink():
            known = (*self._laid, *self._memory)
            if name not in self._laid and not any(one.startswith(f"{name}/") for one in known):
                shutil.rmtree(path, ignore_errors=True)
                return
            with suppress(OSError):
                for entry in os.listdir(path):
                    self._clear(f"{name}/{entry}")
        elif name not in self._laid:
            with suppress(OSError):
                path.unlink()

    def _names(self, folder: Path, above: str = "") -> Iterator[str]:
        """Of everything below, files and folders."""
        with suppress(OSError):
            for entry in os.scandir(folder):
                name = f"{above}{entry.name}"
                yield name
                if entry.is_dir(follow_symlinks=False):
                    yield from self._names(Path(entry.path), f"{name}/")
