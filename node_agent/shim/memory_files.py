"""Measures files that exist only in memory, whether a process has mapped them or not.

These are files in a sandbox's own /tmp and similar folders, and unnamed files (memfd) that a process has
open. Standard library only: the shim imports this.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
"""The folders that a sandbox keeps in memory; all other folders there are read-only."""
_IN_MEMORY = "tmpfs"
_NAMELESS = "/memfd:"
_BLOCK = 512


def in_folders(pids: Iterable[int]) -> int:
    """Return the bytes in the memory folders of these processes' sandboxes; each sandbox counts once. The
    /tmp of a program with its own sandbox, such as Codex, is the node's, which is not counted."""
    sandboxed: dict[str, int] = {}
    for pid in pids:
        sandboxed.setdefault(_read_namespace(pid), pid)
    for none in ("", _read_namespace("self")):
        sandboxed.pop(none, None)
    if not sandboxed:  # the process has no sandbox: skip reading the node's own mounts
        return 0
    counted = {device for device, _ in _list_mounts("self")}
    total = 0
    for pid in sandboxed.values():
        for device, folder in _list_mounts(pid):
            if folder in FOLDERS and device not in counted:
                counted.add(device)
                total += _used_bytes(f"/proc/{pid}/root{folder}")
    return total


def measure_nameless(pids: Iterable[int]) -> int:
    """Return the bytes in unnamed files that these processes hold open; each file counts once."""
    files: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:  # the process has ended or cannot be read
            continue
        for number in numbers:
            path = f"/proc/{pid}/fd/{number}"
            try:
                if os.readlink(path).startswith(_NAMELESS):
                    found = os.stat(path)
                    files[found.st_dev, found.st_ino] = found.st_blocks * _BLOCK
            except OSError:
                continue
    return sum(files.values())


def _read_namespace(pid: int | str) -> str:
    """Return a process's pid namespace; it differs from our own only in a sandbox. Empty if unknown."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _list_mounts(pid: int | str) -> list[tuple[str, str]]:
    """Return (device, mount point) of each in-memory file system that the process sees."""
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    return [(words[2], words[4]) for words in lines if words[words.index("-") + 1] == _IN_MEMORY]


def _used_bytes(folder: str) -> int:
    try:
        stats = os.statvfs(folder)
    except OSError:
        return 0
    return (stats.f_blocks - stats.f_bfree) * stats.f_frsize
