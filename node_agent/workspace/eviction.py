"""Selects the stored folders of one kind to delete: those unused for too long, and those beyond the size
limit. No input or output, except for measuring folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.files.walk import walk_tree
from node_agent.wire.keep import KeepBound

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class KeptFolder:
    """A stored folder. `used_ms`: time of its last use. `size`: bytes on the disk. `stays`: it is in use."""

    name: str
    used_ms: int
    size: int = 0
    stays: bool = False


def select_evicted(kept: Iterable[KeptFolder], bound: KeepBound, now_ms: int) -> dict[str, int]:
    """Return the folders to delete, with the time of their last use: those that are too old, then the least
    recently used until the rest fits. Folders in use count toward the size."""
    rows = sorted(kept, key=lambda one: one.used_ms)
    left, gone = sum(one.size for one in rows), dict[str, int]()
    for one in rows:
        is_old = now_ms - one.used_ms > bound.age_ms
        if not one.stays and (is_old or (bound.size is not None and left > bound.size)):
            gone[one.name] = one.used_ms
            left -= one.size
    return gone


def used_ms(folder: Path) -> int:
    """Return the time when the folder was last used; 0 if it does not exist."""
    try:
        return os.stat(folder).st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return 0


def measure_folder(folder: Path, bound: KeepBound) -> int:
    """Return the folder's size on disk; 0 if `bound` has no size limit, since measuring reads all names."""
    size = 0
    if bound.size is not None:
        with suppress(OSError):  # erased by another process at the same time
            for one in walk_tree(folder):
                size += os.stat(one.name, dir_fd=one.at, follow_symlinks=False).st_blocks * _BLOCK
    return size
