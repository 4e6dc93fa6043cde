"""What keeps a landing off: a branch that is checked out or being rebased, a merge that is not finished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pancode.adapters.git.errors import GitRefusal
from pancode.adapters.git.project import GitProject

_HEADS = "refs/heads/"
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


def free_branch(seen: GitProject, name: str) -> str:
    """The branch's full name. GitRefusal for one that someone works on, or that can be none."""
    ref = f"{_HEADS}{name}"
    if name.startswith("-") or not seen.git.ask("check-ref-format", ref).ok:
        raise GitRefusal(f"{name!r} is no name of a branch", fix="--branch agent/my-change")
    unless_worked_on(seen, name)
    return ref


def unless_worked_on(seen: GitProject, name: str) -> None:
    """GitRefusal for a branch that is checked out or being rebased."""
    ref = f"{_HEADS}{name}"
    for place, lines in _worktrees(seen):
        if f"branch {ref}" in lines:
            raise GitRefusal(
                f"branch {name} is checked out in {place}",
                why="a commit there would leave its files behind",
                fix="leave --branch out to land in the files, or name another branch",
            )
    for folder in _git_dirs(seen):
        if ref in _rebased(folder):
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
    """Of this checkout, of the main one, and of every other worktree."""
    common = seen.common_dir
    yield from dict.fromkeys((seen.git_dir, common, *sorted((common / "worktrees").glob("*"))))


def _rebased(folder: Path) -> list[str]:
    names = (folder / kind / "head-name" for kind in ("rebase-merge", "rebase-apply"))
    return [name.read_text(errors="replace").strip() for name in names if name.is_file()]
