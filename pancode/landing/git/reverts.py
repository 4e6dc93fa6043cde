"""Checks whether landed changes were reverted later; done when a user views the costs or lands a change."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.git import checked_object
from pancode.git.depot import Depot
from pancode.git.merge import patch_ids
from pancode.git.repository import GitProject, open_project
from pancode.git.runner import Git, any_owner_env
from pancode.kernel.errors import PancodeError
from pancode.kernel.records import EndedRun, Run
from pancode.landing.rules import LANDED_MS, Reverted
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.whole_changes import change_begins

MOST_COMMITS, MOST_FILES = 300, 200
"""The most commits since a landing, and the most files, that are searched for a revert."""
_REVERTS = re.compile(rb"^This reverts commit ([0-9a-f]{7,64})", re.MULTILINE)
_OF_RUN = re.compile(rb"^Pancode-Run:\s*(\S+)\s*$", re.MULTILINE | re.IGNORECASE)
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames")


@dataclass(frozen=True, slots=True)
class LandedChange:
    """A landed change. `commit`: the commit that the landing made, or empty."""

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
    """Return the commit that is checked out; empty without a commit or a repository."""
    git = Git(Path("/"), any_owner_env())
    return git.ask("-C", str(project), "rev-parse", "--verify", "-q", "HEAD").text()


def find_reverts(
    project: Path, depot: Depot, changes: Sequence[LandedChange], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the commits that reverted changes, by run. A revert is recognized by its message, or by a patch
    that is the inverse of the change."""
    seen, since = open_project(project, environ), min((one.since_ms for one in changes), default=0) // 1000
    words = (f"-n{MOST_COMMITS}", f"--since=@{since}", "--format=%ct%x00%H%x00%B%x01")
    done = seen.git.ask("log", *words, "HEAD", "--")
    parts = [part.strip(b"\n").split(b"\0") for part in done.out.split(b"\x01")] if done.ok else []
    every = [(int(part[0]), _Commit(part[1].decode(), part[2])) for part in parts if len(part) == 3]
    found: dict[str, str] = {}
    for change in changes:
        commits = [one for date, one in every if date >= change.since_ms // 1000]
        if commits and (commit := _by_message(change, commits) or _by_patch(seen, depot, change)):
            found[change.run] = commit
    return found


def _by_message(change: LandedChange, commits: Sequence[_Commit]) -> str | None:
    """Return the commit whose message says that it reverts the landing's commit, or the commit in which the
    user committed the landed change; None if there is none."""
    mine = {change.commit} if change.commit else set()
    mine |= {one.id for one in commits if change.run.encode() in _OF_RUN.findall(one.message)}
    for one in commits:
        named = [name.decode() for name in _REVERTS.findall(one.message)]
        if any(whole.startswith(name) for name in named for whole in mine):
            return one.id
    return None


def _by_patch(seen: GitProject, depot: Depot, change: LandedChange) -> str | None:
    """Return the commit whose patch of the same files is the inverse of the change, or None."""
    pair = (checked_object(change.result), checked_object(change.snapshot))
    git = depot.git(change.repo_id)
    wanted = next(iter(patch_ids(git, git.must("diff", *_PLAIN, *pair).out)), "")
    names = [name for name in git.must("diff", *_PLAIN, "--name-only", "-z", *pair).out.split(b"\0") if name]
    if not names:
        return None
    words = (f"-n{MOST_COMMITS}", f"--since=@{change.since_ms // 1000}", "-p", *_PLAIN, "HEAD", "--")
    paths = [os.fsdecode(name) for name in names[:MOST_FILES]]
    return patch_ids(git, seen.git.must("log", *words, *paths).out).get(wanted)


log = logging.getLogger("pancode.reverts")
LOOKED_BACK_MS = 30 * 24 * 3_600_000
MOST_ROWS, MOST_REPOSITORIES, MOST_CHANGES = 5_000, 5, 20


class RevertLook:
    """The search for reverts, one per coordinator; it searches a repository again only if its HEAD moved."""

    def __init__(self, core: Core, depot: Depot) -> None:
        self._core, self._depot = core, depot
        self._heads: dict[str, str] = {}
        self._alone = threading.Lock()

    def look(self, only: str = "") -> dict[str, str]:
        """Return and record the commits that reverted changes, by run; unreadable repositories are skipped.
        `only`: search only that repository."""
        with self._alone:
            found: dict[str, str] = {}
            if only and self._heads.get(only) == head_of(Path(only)):
                return found
            landed = [
                (project, runs) for project, runs in self._list_landed().items() if only in ("", project)
            ]
            for project, runs in landed[:MOST_REPOSITORIES]:
                try:
                    found |= self._find_in_project(project, runs)
                except PancodeError as error:
                    log.info("repository %s is not searched for reverts: %s", project, error)
        for run, commit in found.items():
            with unit_of_work(self._core) as work:
                known = work.tx.get(Run, run)
                if known is not None:
                    work.signal(known, Reverted(commit))
        return found

    def _list_landed(self) -> dict[str, list[Run]]:
        """Return the landed runs by repository, newest first."""
        since = self._core.wall_ms() - LOOKED_BACK_MS
        by: dict[str, list[Run]] = {}
        with self._core.ports.ledger.transaction() as tx:
            rows = tx.find(EndedRun, order="ended_ms", descending=True, limit=MOST_ROWS)
            for row in rows:
                stands = row.landed and not row.reverted and row.repository is not None
                if not stands or row.ended_ms < since or len(by.get(str(row.repository), ())) >= MOST_CHANGES:
                    continue
                run = tx.get(Run, row.run)
                if run is not None:
                    by.setdefault(str(row.repository), []).append(run)
        return by

    def _find_in_project(self, project: str, runs: list[Run]) -> dict[str, str]:
        top = Path(project)
        head = head_of(top)
        if self._heads.get(project) == head:  # a revert of it can only be a later commit
            return {}
        changes = [change for run in runs if (change := self._change(run)) is not None]
        found = find_reverts(top, self._depot, changes, dict(os.environ))
        self._heads[project] = head
        return found

    def _change(self, run: Run) -> LandedChange | None:
        repo, commit = run.workspace.get("repo"), run.result.get("commit")
        begins = change_begins(self._core, run) or run.workspace.get("snapshot")
        if not isinstance(repo, str) or not isinstance(commit, str) or not isinstance(begins, str):
            return None
        made = run.landed if run.landed != commit else None
        at = run.result.get(LANDED_MS)  # a run of an older version may lack this field
        since = at if isinstance(at, int) else run.finished_ms or run.created_ms
        return LandedChange(run.id, repo, begins, commit, made, since)
