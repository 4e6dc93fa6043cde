"""Remembers the files that the sandbox hid in an earlier phase, also after a program moved them.

A mount keeps what it covers from being renamed or removed, but not the folders above it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from node_agent.files.durable import write_atomic
from node_agent.sandbox.policy import Covers
from node_agent.wire.policy import PathAccess

FILE = "covered.json"
"""In an attempt's folder, where nothing of the attempt writes."""


@dataclass(frozen=True, slots=True)
class Known:
    """Something in the checkout that was covered. `at`: device and inode."""

    path: str
    access: PathAccess
    at: tuple[int, int]


def read(folder: Path) -> tuple[Known, ...]:
    """The files that earlier phases of this attempt had covered."""
    try:
        entries = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        return ()
    return tuple(Known(path, PathAccess(access), (device, inode)) for path, access, device, inode in entries)


def write(folder: Path, tree: str, covers: Covers, before: Iterable[Known]) -> None:
    """For the next phase: what this one has covered of the checkout, and `before`."""
    entries = {one.at: (one.path, one.access) for one in before}
    every = [*((path, PathAccess.NONE) for path in (*covers.folders, *covers.files))]
    every += [(path, PathAccess.READ) for path in covers.kept]
    for path, access in every:
        if path.startswith(f"{tree}/"):
            seen = os.lstat(path)
            entries[seen.st_dev, seen.st_ino] = (path, access)
    if entries:
        lines = [[path, access.value, *at] for at, (path, access) in entries.items()]
        write_atomic(str(folder / FILE), json.dumps(lines).encode(), sync=False)


def found_again(tree: str, before: Iterable[Known], most: int) -> tuple[list[Known], bool]:
    """The current place, and whether that is all of it: a checkout may have too many entries for a search."""
    here = list(before)
    stay = [one for one in here if _at(one.path) == one.at and _is_plain(tree, one.path)]
    lost = {one.at: one for one in here if one not in stay}
    inodes = {inode for _, inode in lost}  # which an entry tells without another look at it
    for seen, entry in enumerate(_walked(tree) if lost else (), 1):
        if seen > most:
            return stay, False
        at = _at(entry.path) if entry.inode() in inodes else None
        if at in lost:
            one = lost.pop(at)
            stay.append(Known(entry.path, one.access, one.at))
            if not lost:
                break
    return stay, True  # what is nowhere is gone


def _walked(tree: str) -> Iterator[os.DirEntry[str]]:
    folders = [tree]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:  # closed to us, or too deep to be named
            continue
        yield from entries
        folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _at(path: str) -> tuple[int, int] | None:
    try:
        seen = os.lstat(path)
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def _is_plain(tree: str, path: str) -> bool:
    """No link on the way."""
    return os.path.realpath(path) == f"{os.path.realpath(tree)}{path.removeprefix(tree)}"
