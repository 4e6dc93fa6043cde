"""Reads single files of a tree in the depot."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass

from node_agent.wire.git import checked_object, split_nul
from pancode.git.runner import Git

MOST_READ = 1 << 20
"""The most bytes of a file that are read."""
MOST_PATH = 4096


@dataclass(frozen=True, slots=True)
class _Entry:
    """`size`: in bytes."""

    oid: str
    is_link: bool
    size: int


class TreeFiles:
    """Implements node_agent.policy.deciding.FileTree for one tree. Each folder is listed once."""

    def __init__(self, git: Git, tree: str) -> None:
        self._git, self._tree = git, checked_object(tree)
        self._listed: dict[str, dict[str, _Entry | None]] = {}

    def read(self, path: str) -> bytes | None:
        """The content of a file, or the target of a link; of a file above MOST_READ, its object id."""
        entry = self._entry(path)
        if entry is None:
            return None
        if entry.size > MOST_READ:
            return entry.oid.encode()
        return self._git.must("cat-file", "blob", entry.oid).out

    def target_of(self, path: str) -> bytes | None:
        entry = self._entry(path)
        return self.read(path) if entry is not None and entry.is_link else None

    def names(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            is_path = "\0" not in folder and len(folder) <= MOST_PATH
            place = f"{self._tree}:{folder}" if folder else self._tree
            listed = self._git.ask("ls-tree", "-l", "-z", place) if is_path else None
            self._listed[folder] = {}
            for row in split_nul(listed.out) if listed is not None and listed.ok else ():
                head, _, name = row.partition(b"\t")
                mode, _, oid, size = head.decode("ascii").split()
                entry = _Entry(oid, mode == "120000", int(size)) if size.isdecimal() else None
                self._listed[folder][os.fsdecode(name)] = entry
        return frozenset(self._listed[folder])

    def _entry(self, path: str) -> _Entry | None:
        """None: there is nothing, or a folder or a submodule."""
        folder, name = posixpath.split(path)
        return self._listed[folder][name] if name in self.names(folder) else None
