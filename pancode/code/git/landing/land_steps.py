"""Decides which files a landing replaces, creates and deletes, and which of them it must not touch."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from node_agent.wire.git import Change, parents, shown
from pancode.life.land_values import Conflict

ABSENT = "000000"
_GITLINK = "160000"


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Identifies a file, and shows whether it was edited."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    mode: int

    @classmethod
    def of(cls, path: str) -> FileIdentity | None:
        """None when nothing is there."""
        try:
            at = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls(at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_mode)


@dataclass(frozen=True, slots=True)
class FileStep:
    """One file: `old` is what lies there now (None: nothing), `new` whether something takes its place.

    `path` is relative, in the file system's encoding. `below` is the mode of a folder that gives way.
    `staged` is the identity of the file that will be put there.
    """

    path: str
    old: FileIdentity | None
    new: bool
    executable: bool = False
    below: int = 0
    staged: FileIdentity | None = None

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, object]) -> FileStep:
        old, staged = data["old"], data["staged"]
        return cls(
            path=str(data["path"]),
            old=FileIdentity(**old) if isinstance(old, dict) else None,
            new=data["new"] is True,
            executable=data["executable"] is True,
            below=data["below"] if isinstance(data["below"], int) else 0,
            staged=FileIdentity(**staged) if isinstance(staged, dict) else None,
        )


def steps_of(top: Path, changes: Iterable[Change]) -> tuple[FileStep, ...]:
    """The steps, each with the identity that its target has at this moment."""
    return tuple(_step(top, change) for change in changes)


def _step(top: Path, change: Change) -> FileStep:
    there = FileIdentity.of(_join(top, change.path))
    return FileStep(
        path=os.fsdecode(change.path),
        old=there if change.old_mode != ABSENT else None,
        new=change.new_mode != ABSENT,
        executable=change.new_mode == "100755",
        below=there.mode if there and change.old_mode == ABSENT and stat.S_ISDIR(there.mode) else 0,
    )


def forbidden(top: Path, changes: tuple[Change, ...], hidden: frozenset[bytes]) -> tuple[Conflict, ...]:
    """Changes that a merge allows and a landing does not. `hidden`: edits that git does not tell."""
    removed = frozenset(change.path for change in changes if change.new_mode == ABSENT)
    found = ((change.path, _by_name(change, hidden) or _by_place(top, change, removed)) for change in changes)
    return tuple(Conflict(shown(path), why) for path, why in found if why)


def _by_name(change: Change, hidden: frozenset[bytes]) -> str | None:
    if any(part.lower() in (b".git", b"git~1") for part in change.path.split(b"/")):
        return "a name that belongs to git"
    if _GITLINK in (change.old_mode, change.new_mode):
        return "a submodule: its change is not landed"
    if change.path in hidden:
        return "marked assume-unchanged or skip-worktree: your own edits cannot be seen"
    return None


def _by_place(top: Path, change: Change, removed: frozenset[bytes]) -> str | None:
    there = FileIdentity.of(_join(top, change.path))
    if change.old_mode == ABSENT and there is not None and not _gives_way(top, change.path, there, removed):
        return "is there, ignored or new: it would be overwritten"
    if change.old_mode != ABSENT and (there is None or stat.S_ISDIR(there.mode)):
        return "is no longer there"
    return _parent_problem(top, change.path, removed)


def _gives_way(top: Path, name: bytes, there: FileIdentity, removed: frozenset[bytes]) -> bool:
    """Whether a folder lies there of which nothing will be left."""
    root = _join(top, name)
    inside = [os.path.join(folder, file) for folder, _, files in os.walk(root) for file in files]
    return stat.S_ISDIR(there.mode) and all(
        os.fsencode(os.path.relpath(path, top)) in removed for path in inside
    )


def _parent_problem(top: Path, name: bytes, removed: frozenset[bytes]) -> str | None:
    for folder in parents(name):
        path = _join(top, folder)
        there = FileIdentity.of(path)
        if there is None or folder in removed:
            return None
        if not stat.S_ISDIR(there.mode):
            return f"lies below {shown(folder)}, which is no folder"
        if os.path.lexists(os.path.join(path, ".git")):
            return f"lies in a repository of its own: {shown(folder)}"
    return None


def missing_folders(top: Path, steps: Iterable[FileStep]) -> tuple[str, ...]:
    """Folders that must be made, outermost first."""
    every = list(steps)
    replaced = {step.path for step in every if step.old is not None}
    wanted = [os.fsdecode(folder) for step in every if step.new for folder in parents(os.fsencode(step.path))]
    there = (
        name
        for name in dict.fromkeys(wanted)
        if name in replaced or not os.path.lexists(os.path.join(top, name))
    )
    return tuple(there)


def _join(top: Path, name: bytes) -> str:
    return os.path.join(top, os.fsdecode(name))
