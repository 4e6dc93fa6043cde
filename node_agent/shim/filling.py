"""Decides whether a phase uses more disk than it may: its checkout, its home, its open files.

No quota of the kernel's is at hand without root. So the free space is looked at each second, which is cheap,
and the files are counted when it has fallen, or now and then. Standard library only: the shim imports this.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from node_agent.shim import process

DISK = "disk"
LOOK_MS, CALM_MS = 1_000, 30_000
SHARE = 50
"""A count may take one part in this many of the time."""
_BLOCK = 512


class Filling:
    """The disk use of a phase. `folders`: those it writes; `members`: its processes; `now`: milliseconds."""

    def __init__(
        self,
        limits: dict[str, Any],
        folders: list[str],
        members: Callable[[], Iterable[process.Proc]],
        now: Callable[[], int],
    ) -> None:
        self._limit: int | None = limits.get("disk_bytes")
        self._folders, self._members, self._now = folders, members, now
        self._used = self._free = self._began = self._next = self._calm = 0

    def start(self) -> None:
        """Begin to watch. Files of earlier phases are in the first count, too."""
        self._free, self._began = self._left(), self._now()
        self._next, self._calm = self._began + LOOK_MS, self._began + CALM_MS

    def over(self) -> bool:
        """Whether the phase must end for its disk use; counted only when a count is due."""
        now = self._now()
        if self._limit is None or now < self._next:
            return False
        self._next = now + LOOK_MS
        return (now >= self._calm or self._fallen()) and self._counted(now)

    def ended(self) -> bool:
        """Whether a phase that ended by itself was over its limit. A brief one counts if the disk fell."""
        if self._limit is None:
            return False
        now = self._now()
        return (now - self._began >= LOOK_MS or self._fallen()) and self._counted(now)

    def _fallen(self) -> bool:
        """Whether the disk lost so much since the last count that the phase may be over its limit."""
        return self._free - self._left() >= max(0, (self._limit or 0) - self._used) // 2

    def _counted(self, began: int) -> bool:
        before, self._free = self._free, self._left()
        self._used = measure_used(self._folders, [pid for pid, _ in self._members()])
        if before - self._free > 2 * self._used:  # most of it lies where we did not get in
            self._used = measure_used(self._folders, [pid for pid, _ in self._members()], opening=True)
        took = self._now() - began
        self._next, self._calm = began + LOOK_MS + SHARE * took, began + CALM_MS + SHARE * took
        return self._used > (self._limit or 0)

    def _left(self) -> int:
        try:
            seen = os.statvfs(self._folders[0])
        except OSError:
            return self._free
        return seen.f_bfree * seen.f_frsize


def measure_used(folders: Iterable[str], pids: Iterable[int], opening: bool = False) -> int:
    """Return the bytes on the disk: of each file once, and of files without a name that these processes hold
    open.

    `opening`: first open the folders that their owner has closed.
    """
    from pathlib import Path

    from node_agent.files.walk import walk_tree  # a phase that writes little never needs it

    files: dict[tuple[int, int], int] = {}
    for folder in folders:
        try:
            for one in walk_tree(Path(folder), opening):
                _add(files, one.name, one.at)
        except OSError:  # moved away while it was looked at: the next count sees it
            continue
    devices = {device for device, _ in files}
    for pid in pids:
        for path in _open_files(pid):
            _add(files, path, None, devices)
    return sum(files.values())


def _add(files: dict[tuple[int, int], int], name: str, at: int | None, only: set[int] | None = None) -> None:
    try:
        seen = os.stat(name, dir_fd=at, follow_symlinks=at is None)
    except OSError:
        return
    if only is None or (seen.st_nlink == 0 and seen.st_dev in only):
        files[seen.st_dev, seen.st_ino] = seen.st_blocks * _BLOCK


def _open_files(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:  # it is gone, or lets nobody look
        return []
