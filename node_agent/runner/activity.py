"""Looks at what processes have used and which file was changed last, within bounds of cost."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

MOST_FILES = 10_000
"""Of one folder; a change of a file beyond these is not seen."""
_SKIPPED = (".git", "node_modules", ".venv")
_CPU = slice(11, 15)  # of /proc/PID/stat, counted from the state: its own time and that of ended children
_TICK_MS = 1_000 // os.sysconf("SC_CLK_TCK")


def cpu_ms(pids: Iterable[int]) -> int:
    """CPU time of these processes and of their children that have ended."""
    total = 0
    for pid in pids:
        try:
            line = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:  # it has ended
            continue
        total += sum(map(int, line.rpartition(b")")[2].split()[_CPU]))
    return total * _TICK_MS


def changed_ms(folder: str) -> int:
    """Wall time of the newest change of a file or folder below; 0: nothing can be seen."""
    newest, left, folders = 0, MOST_FILES, [folder]
    while folders and left > 0:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    left -= 1
                    newest = max(newest, entry.stat(follow_symlinks=False).st_mtime_ns)
                    if entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:  # it is gone, or not ours to read
            continue
    return newest // 1_000_000
