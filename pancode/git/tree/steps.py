"""Decides which files a landing replaces, creates and deletes, and which of the user's files prevent it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.git import Change, decode_path, list_parents
from pancode.git.file_list import LFS, find_filters
from pancode.git.landings import Conflict
from pancode.git.repository import GitProject
from pancode.git.runner import Git, GitRefusal

HEADS = "refs/heads/"
_BRANCH = "%(refname)%00%(objectname)%00%(tree)%00%(worktreepath)%00%(symref)"
_HALF = {
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}


def unless_in_progress(seen: GitProject) -> None:
    """Raise GitRefusal if a merge or a similar operation is in progress in the user's files and index."""
    for name, verb in _HALF.items():
        if (seen.git_dir / name).exists():
            raise GitRefusal(
                f"a git {verb} is in progress in {seen.top}",
                why="the files there are a mix of two commits",
                fix=f"git {verb} --continue (or --abort); or land on a branch: --branch NAME",
            )


@dataclass(frozen=True, slots=True)
class FreeBranch:
    """A branch that is not checked out; `tip` and its `tree` are empty if it does not exist yet."""

    ref: str
    tip: str = ""
    tree: str = ""


def free_branch(seen: GitProject, name: str) -> FreeBranch:
    """Return the branch as it is now. Raises GitRefusal if it is checked out or its name is invalid."""
    ref = f"{HEADS}{name}"
    # git also matches folders and patterns; only a ref with exactly this name counts.
    found, *fields = seen.git.ask("for-each-ref", f"--format={_BRANCH}", ref).out.split(b"\0", 4)
    there = found == ref.encode()
    if name.startswith("-") or not (there or seen.git.ask("check-ref-format", ref).ok):
        raise GitRefusal(f"{name!r} is not a valid branch name", fix="--branch agent/my-change")
    if not there or fields[2].strip():  # git also lists a bare repository here, but that has no files
        for place, lines in _list_worktrees(seen):
            if f"branch {HEADS}{name}" in lines:
                raise GitRefusal(
                    f"branch {name} is checked out in {place}",
                    why="after a new commit on the branch, the files there would be out of date",
                    fix="omit --branch to land in the working tree, or choose another branch",
                )
    if there and fields[3].strip():
        raise GitRefusal(
            f"branch {name} is an alias of {fields[3].decode(errors='replace').strip()}",
            why="a commit on the alias would move that other branch, which may be checked out",
            fix="use the other branch, or a new one",
        )
    for folder in _git_dirs(seen):
        names = (folder / kind / "head-name" for kind in ("rebase-merge", "rebase-apply"))
        if f"{HEADS}{name}" in [name.read_text(errors="replace").strip() for name in names if name.is_file()]:
            raise GitRefusal(
                f"branch {name} is being rebased",
                why=f"git stores the state of the rebase in {folder}",
                fix="git rebase --continue, or git rebase --abort; or choose another branch",
            )
    return FreeBranch(ref, fields[0].decode(), fields[1].decode()) if there else FreeBranch(ref)


def _list_worktrees(seen: GitProject) -> Iterator[tuple[str, list[str]]]:
    for one in seen.git.must("worktree", "list", "--porcelain", "-z").out.split(b"\0\0"):
        lines = [line.decode("utf-8", "surrogateescape") for line in one.split(b"\0") if line]
        if lines:
            yield lines[0].removeprefix("worktree "), lines


def _git_dirs(seen: GitProject) -> Iterator[Path]:
    """Yield the git directories of this checkout, of the main checkout, and of every other worktree."""
    common = seen.common_dir
    yield from dict.fromkeys((seen.git_dir, common, *sorted((common / "worktrees").glob("*"))))


ABSENT = "000000"
GITLINK = "160000"


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """The identity of a file, which changes when the file is edited."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    mode: int

    @classmethod
    def of(cls, path: str) -> FileIdentity | None:
        """Return the identity of the file at this path; None if nothing exists there."""
        try:
            at = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls(at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_mode)


@dataclass(frozen=True, slots=True)
class FileStep:
    """One file's change. `old`: the present file (None: no file); `new`: whether a new file is installed.

    `path` is relative, in the file system's encoding. `below`: the mode of a folder that the file replaces.
    `staged`: the identity of the file that will be installed.
    """

    path: str
    old: FileIdentity | None
    new: bool
    executable: bool = False
    below: int = 0
    staged: FileIdentity | None = None


def steps_of(top: Path, changes: Iterable[Change]) -> tuple[FileStep, ...]:
    """Return the steps for these changes, each with the identity of the file that is there now."""
    return tuple(_make_step(top, change) for change in changes)


def _make_step(top: Path, change: Change) -> FileStep:
    there = FileIdentity.of(_join(top, change.path))
    return FileStep(
        path=os.fsdecode(change.path),
        old=there if change.old_mode != ABSENT else None,
        new=change.new_mode != ABSENT,
        executable=change.new_mode == "100755",
        below=there.mode if there and change.old_mode == ABSENT and stat.S_ISDIR(there.mode) else 0,
    )


def find_forbidden(top: Path, changes: tuple[Change, ...], hidden: frozenset[bytes]) -> tuple[Conflict, ...]:
    """Return changes that git could merge but that must not land. `hidden`: files whose edits git ignores."""
    removed = frozenset(change.path for change in changes if change.new_mode == ABSENT)
    found = ((change.path, _by_name(change, hidden) or _by_place(top, change, removed)) for change in changes)
    return tuple(Conflict(decode_path(path), why) for path, why in found if why)


def _by_name(change: Change, hidden: frozenset[bytes]) -> str | None:
    if any(part.lower() in (b".git", b"git~1") for part in change.path.split(b"/")):
        return "this name is reserved for git"
    if GITLINK in (change.old_mode, change.new_mode):
        return "a submodule: its change is not landed"
    if change.path in hidden:
        return "is marked assume-unchanged or skip-worktree, so git does not report your edits"
    return None


def _by_place(top: Path, change: Change, removed: frozenset[bytes]) -> str | None:
    there = FileIdentity.of(_join(top, change.path))
    if change.old_mode == ABSENT and there is not None and not _gives_way(top, change.path, there, removed):
        return "exists, but is ignored or untracked: it would be overwritten"
    if change.old_mode != ABSENT and (there is None or stat.S_ISDIR(there.mode)):
        return "no longer exists"
    for folder in list_parents(change.path):
        path = _join(top, folder)
        there = FileIdentity.of(path)
        if there is None or folder in removed:
            return None
        if not stat.S_ISDIR(there.mode):
            return f"is below {decode_path(folder)}, which is not a directory"
        if os.path.lexists(os.path.join(path, ".git")):
            return f"is in a separate repository: {decode_path(folder)}"
    return None


def _gives_way(top: Path, name: bytes, there: FileIdentity, removed: frozenset[bytes]) -> bool:
    """Whether the path is a folder and the landing removes all files in it."""
    root = _join(top, name)
    inside = [os.path.join(folder, file) for folder, _, files in os.walk(root) for file in files]
    return stat.S_ISDIR(there.mode) and all(
        os.fsencode(os.path.relpath(path, top)) in removed for path in inside
    )


def missing_folders(top: Path, steps: Iterable[FileStep]) -> tuple[str, ...]:
    """Return the folders that must be created, outermost first."""
    every = list(steps)
    replaced = {step.path for step in every if step.old is not None}
    wanted = [
        os.fsdecode(folder) for step in every if step.new for folder in list_parents(os.fsencode(step.path))
    ]
    there = (
        name
        for name in dict.fromkeys(wanted)
        if name in replaced or not os.path.lexists(os.path.join(top, name))
    )
    return tuple(there)


def _join(top: Path, name: bytes) -> str:
    return os.path.join(top, os.fsdecode(name))


def own_content(project: GitProject, index: Git, changes: tuple[Change, ...]) -> tuple[Conflict, ...]:
    """Return conflicts for files whose git filter keeps content out of git; a landing would lose it."""
    names = [change.path for change in changes if change.old_mode.startswith("100")]
    under = [name for name, value in find_filters(project, index, names).items() if value != LFS]
    old = {change.path: change.old for change in changes}
    top = os.fsencode(project.top)
    why = (
        "has a filter that keeps content out of git: copy the file elsewhere, git checkout it, then land "
        "again"
    )
    found = []
    for name in under:
        path = os.fsdecode(os.path.join(top, name))
        if os.path.isfile(path) and index.text("hash-object", "--no-filters", "--", path) != old[name]:
            found.append(Conflict(decode_path(name), why))
    return tuple(found)
