"""Examines a folder before it is cached: its files, its size, and whether it names its own path."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 4096
_HEAD, _WHOLE = 2 << 10, 64 << 10
_POINTERS = (b".pth", b".egg-link")
_POINTER_NAMES = (b"direct_url.json", b"activate", b"activate.csh", b"activate.fish", b"activate.nu")
_FINDER = b"__editable__"
"""Begins the name of the module by which an editable install finds its source."""


@dataclass(frozen=True, slots=True)
class Contents:
    """`digest`: of names, modes, sizes, times and targets of links. `bound`: files and links that name the
    place `home`, which have to be told of another one where a copy of them is to work."""

    digest: str
    size: int
    bound: tuple[str, ...] = ()


def contents_of(folder: Path, home: bytes | None = None) -> Contents:
    """Follows no link. OSError for what cannot be read, ValueError for what is no file, folder or link."""
    seen, size, bound = hashlib.sha256(), 0, list[str]()
    for path, state in _below(os.fsencode(folder)):
        name = path[len(os.fsencode(folder)) + 1 :]
        target = os.readlink(path) if stat.S_ISLNK(state.st_mode) else b""
        seen.update(b"%d %s\0%s\0" % (len(name), name, target) + _traits(name, state))
        size += state.st_size + _BLOCK
        if home is not None and _names(path, state, target, home):
            bound.append(os.fsdecode(name))
    return Contents(seen.hexdigest(), size, tuple(bound))


def move_place(folder: Path, bound: tuple[str, ...], old: bytes, new: bytes) -> None:
    """Tell the files and links of a copy, which is nobody's yet, of the place where it is going to lie.

    OSError, ValueError: the copy is not as it was looked over.
    """
    for name in bound:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        if os.path.islink(path):
            target = os.readlink(path).replace(old, new)
            os.unlink(path)
            os.symlink(target, path)
            continue
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "r+b") as file:  # in place: it keeps its mode, and gets a new time
            text = file.read()
            file.seek(0)
            file.write(text.replace(old, new))
            file.truncate()


def _below(folder: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Everything in it, in an order that depends on the names alone; deeper than a path is long: OSError."""
    left = _listed(folder)
    while left:
        entry = left.pop()
        state = entry.stat(follow_symlinks=False)
        yield entry.path, state
        if stat.S_ISDIR(state.st_mode):
            left += _listed(entry.path)


def _listed(folder: bytes) -> list[os.DirEntry[bytes]]:
    """The last first."""
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name, reverse=True)


def _traits(name: bytes, state: os.stat_result) -> bytes:
    """The facts that a faithful copy has in common with it."""
    mode = state.st_mode
    if stat.S_ISLNK(mode):
        return b"link;"
    if stat.S_ISDIR(mode):
        return b"%o;" % mode
    if stat.S_ISREG(mode):
        return b"%o %d %d;" % (mode, state.st_size, state.st_mtime_ns)
    raise ValueError(f"{os.fsdecode(name)} is no file, folder or link")


def _names(path: bytes, state: os.stat_result, target: bytes, home: bytes) -> bool:
    """The ways that tools have of writing down where they were installed: links, `#!`, path files."""
    if target or not stat.S_ISREG(state.st_mode):
        return home in target
    name = os.path.basename(path)
    if (
        name.endswith(_POINTERS)
        or name in _POINTER_NAMES
        or (name.startswith(_FINDER) and name.endswith(b".py"))
    ):
        return home in _start(path, _WHOLE)
    if not state.st_mode & 0o111:
        return False
    head = _start(path, _HEAD)  # an installer gives a path too long for `#!` to `exec` in the second line
    return head.startswith(b"#!") and any(home in line for line in head.split(b"\n")[:2])


def _start(path: bytes, most: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        return file.read(most)
