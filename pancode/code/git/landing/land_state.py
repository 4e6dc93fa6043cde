"""What keeps a landing off: a branch that is checked out or being rebased, a merge that is not finished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pancode.code.git.project import GitProject
from pancode.code.git.safe import GitRefusal

_HEADS = "refs/heads/"
_BRANCH = "%(refname)%00%(objectname)%00%(tree)%00%(worktreepath)%00%(symref)"
_HALF = {
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}


def unless_in_progress(seen: GitProject) -> None:
    """GitRefusal where files and index are those of a merge that the user has not finished."""
    for name, verb in _HALF.items():
        if (seen.git_dir / name).exists():
            raise GitRefusal(
                f"a {verb} is in progress in {seen.top}",
                why="its files are half of one commit and half of another",
                fix=f"git {verb} --continue, or --abort; or land on a branch: --branch NAME",
            )


@dataclass(frozen=True, slots=True)
class FreeBranch:
    """A branch on which nobody works; `tip` and its `tree` are empty where there is no such branch yet."""

    ref: str
    tip: str = ""
    tree: str = ""


def free_branch(seen: GitProject, name: str) -> FreeBranch:
    """The branch as it is now. GitRefusal for one that someone works on, or that can be none."""
    ref = f"{_HEADS}{name}"
    # Also its folders and patterns are looked for: only the very same name counts.
    found, *fields = seen.git.ask("for-each-ref", f"--format={_BRANCH}", ref).out.split(b"\0", 4)
    there = found == ref.encode()
    if name.startswith("-") or not (there or seen.git.ask("check-ref-format", ref).ok):
        raise GitRefusal(f"{name!r} cannot be the name of a branch", fix="--branch agent/my-change")
    if not there or fields[2].strip():  # that also names a bare repository, which has no files
        _unless_checked_out(seen, name)
    if there and fields[3].strip():
        raise GitRefusal(
            f"branch {name} is another name of {fields[3].decode(errors='replace').strip()}",
            why="a commit there would move that branch, which may be checked out",
            fix="name the other branch, or a new one",
        )
    _unless_rebased(seen, name)
    return FreeBranch(ref, fields[0].decode(), fields[1].decode()) if there else FreeBranch(ref)


def _unless_checked_out(seen: GitProject, name: str) -> None:
    for place, lines in _worktrees(seen):
        if f"branch {_HEADS}{name}" in lines:
            raise GitRefusal(
                f"branch {name} is checked out in {place}",
                why="a commit there would leave its files behind",
                fix="leave --branch out to land in the files, or name another branch",
            )


def _unless_rebased(seen: GitProject, name: str) -> None:
    for folder in _git_dirs(seen):
        if f"{_HEADS}{name}" in _rebased(folder):
            raise GitRefusal(
                f"branch {name} is being rebased",
                why=f"git keeps the state of that in {folder}",
                fix="git rebase --continue, or --abort; or name another branch",
            )


def _worktrees(seen: GitProject) -> Iterator[tuple[str, list[str]]]:
    for one in seen.git.must("worktree", "list", "--porcelain", "-z").out.split(b"\0\0"):
        lines = [line.decode("utf-8", "surrogateescape") for line in one.split(b"\0") if line]
        if lines:
            yield lines[0].removeprefix("worktree "), lines


def _git_dirs(seen: GitProject) -> Iterator[Path]:
    """The git dirs of this checkout, of the main one, and of every other worktree."""
    common = seen.common_dir
    yield from dict.fromkeys((seen.git_dir, common, *sorted((common / "worktrees").glob("*"))))


def _rebased(folder: Path) -> list[str]:
    names = (folder / kind / "head-name" for kind in ("rebase-merge", "rebase-apply"))
    return [name.read_text(errors="replace").strip() for name in names if name.is_file()]
