"""Restores a program's home between its starts in an interactive run: keeps the program's memory and removes
files that its agent has added."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path


class ProgramHome:
    """The home of the program, as it is before the first start. `memory`: names below `home` with the
    program's memory; `folders`: the folders with its settings."""

    def __init__(self, home: str, memory: Sequence[str], folders: Sequence[str]) -> None:
        self._home, self._memory, self._folders = Path(home), tuple(memory), frozenset(folders)
        self._laid = frozenset(self._list_names(self._home))

    def begin_anew(self) -> None:
        """Remove files where programs look for settings, except PanCode's and the memory. Follows no links.

        The home's other folders are PanCode's, such as users' messages and answers to calls. A file that
        cannot be removed is read-only, so PanCode created it.
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

    def _list_names(self, folder: Path, above: str = "") -> Iterator[str]:
        """Yield the names of all files and folders below the folder."""
        with suppress(OSError):
            for entry in os.scandir(folder):
                name = f"{above}{entry.name}"
                yield name
                if entry.is_dir(follow_symlinks=False):
                    yield from self._list_names(Path(entry.path), f"{name}/")
