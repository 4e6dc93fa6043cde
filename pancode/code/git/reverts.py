"""Finds landed changes that a later commit of the user's repository has taken back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.git import checked_object
from pancode.code.git.depot import Depot
from pancode.code.git.project import GitProject, open_project
from pancode.code.git.safe import Git, safe_env

MOST_COMMITS, MOST_FILES = 300, 200
"""So many commits since the landing are looked through, for so many files."""
_REVERTS = re.compile(rb"^This reverts commit ([0-9a-f]{7,64})", re.MULTILINE)
_OF_RUN = re.compile(rb"^Pancode-Run:\s*(\S+)\s*$", re.MULTILINE | re.IGNORECASE)
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames")


@dataclass(frozen=True, slots=True)
class LandedChange:
    """A change that was landed. `commit`: the one that the landing made, where it made one."""

    run: str
    repo_id: str
    snapshot: str
    result: str
    commit: str | None
    since_ms: int


@dataclass(frozen=True, slots=True)
class _Commit:
    id: str
    message: bytes


def head_of(project: Path) -> str:
    """What is checked out; empty without a commit, and where there is no repository."""
    return Git(Path("/"), safe_env()).ask("-C", str(project), "rev-parse", "--verify", "-q", "HEAD").text()


def find_reverts(
    project: Path, depot: Depot, changes: Sequence[LandedChange], environ: Mapping[str, str]
) -> dict[str, str]:
    """By run: the commit that took its change back. By its message, or by a patch that is the inverse."""
    seen = open_project(project, environ)
    found: dict[str, str] = {}
    for change in changes:
        words = (f"-n{MOST_COMMITS}", f"--since=@{change.since_ms // 1000}", "--format=%H%x00%B%x01")
        done = seen.git.ask("log", *words, "HEAD", "--")
        parts = [part.strip(b"\n").partition(b"\0") for part in done.out.split(b"\x01")] if done.ok else []
        commits = [_Commit(name.decode(), message) for name, _, message in parts if name]
        if commits and (commit := _by_message(change, commits) or _by_patch(seen, depot, change)):
            found[change.run] = commit
    return found


def _by_message(change: LandedChange, commits: Sequence[_Commit]) -> str | None:
    """A revert names the commit of the landing, or the one in which its owner has committed it."""
    mine = {change.commit} if change.commit else set()
    mine |= {one.id for one in commits if change.run.encode() in _OF_RUN.findall(one.message)}
    for one in commits:
        named = [name.decode() for name in _REVERTS.findall(one.message)]
        if any(whole.startswith(name) for name in named for whole in mine):
            return one.id
    return None


def _by_patch(seen: GitProject, depot: Depot, change: LandedChange) -> str | None:
    """The commit whose patch of the same files is that of the change the other way round."""
    pair = (checked_object(change.result), checked_object(change.snapshot))
    git = depot.git(change.repo_id)
    wanted = next((patch for patch, _ in _patch_ids(git, "diff", *_PLAIN, *pair)), None)
    names = [name for name in git.must("diff", *_PLAIN, "--name-only", "-z", *pair).out.split(b"\0") if name]
    if wanted is None or not names:
        return None
    words = (f"-n{MOST_COMMITS}", f"--since=@{change.since_ms // 1000}", "-p", *_PLAIN, "HEAD", "--")
    paths = [os.fsdecode(name) for name in names[:MOST_FILES]]
    found = _patch_ids(Git(seen.top, seen.git.env), "log", *words, *paths)
    return next((commit for patch, commit in found if patch == wanted), None)


def _patch_ids(git: Git, *args: str) -> Iterator[tuple[str, str]]:
    """Patch and commit, newest commit first."""
    patches = git.must(*args).out
    for line in git.must("patch-id", "--stable", stdin=patches).text().splitlines():
        patch, _, commit = line.partition(" ")
        yield patch, commit
