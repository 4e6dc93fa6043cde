"""Measures how much disk space a folder uses."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_BLOCK = 512


def bytes_in(path: Path) -> int:
    """Return the bytes on disk of a file, or of all files below a folder; unreadable ones count as 0. A file
    with several names (hard links) counts once."""
    seen, left = dict[tuple[int, int], int](), [os.fspath(path)]
    with suppress(OSError):
        _count(seen, os.stat(path, follow_symlinks=False))
    while left:
        with suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    _count(seen, entry.stat(follow_symlinks=False))
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
    return sum(seen.values())


def _count(seen: dict[tuple[int, int], int], state: os.stat_result) -> None:
    seen[state.st_dev, state.st_ino] = state.st_blocks * _BLOCK


def sizes_of(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the bytes on disk of each name in the folder, largest first; missing names are left out."""
    found = {name: bytes_in(folder / name) for name in names if os.path.lexists(folder / name)}
    return dict(sorted(found.items(), key=lambda one: -one[1]))
