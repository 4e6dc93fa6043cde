"""Lands a result in the user's tree: merged, gated again, all or nothing; index and refs stay."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.wire.git import Change, shown, split_nul
from pancode.code.git.depot import Depot
from pancode.code.git.filters import own_content
from pancode.code.git.landing.land_commits import explained
from pancode.code.git.landing.land_journal import Checkpoint, LandingJournal, TreeChanged
from pancode.code.git.landing.land_state import unless_in_progress
from pancode.code.git.landing.land_steps import forbidden, steps_of
from pancode.code.git.listing import ListingLimits, hidden_names
from pancode.code.git.merge import CommitStore, changes_between, merge_change, stage_files
from pancode.code.git.objects import import_base
from pancode.code.git.project import GitProject, open_project
from pancode.code.git.safe import Git, translated
from pancode.code.git.snapshot import capture, index_copy
from pancode.life.land_values import (
    CalledOff,
    Conflict,
    Gates,
    LandingGates,
    LandReport,
    LandRequest,
    LandStatus,
    Merged,
    never,
)

LOOK_S = 0.1


class CalledOffError(Exception):
    """Ends a landing before its first write."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """The merge, ready to be written. `ours`: git on an index of the user's files as they were merged."""

    tree: str
    changes: tuple[Change, ...]
    ours: Git


_Way = tuple[LandingJournal, CalledOff]
"""How it is written, and whether it still is to be."""


@translated("the landing")
def land(
    project: Path,
    depot: Depot,
    request: LandRequest,
    gates: Gates | None = None,
    checkpoint: Checkpoint = lambda name: None,
    called_off: CalledOff = never,
) -> LandReport:
    """Merge the result into the tree around `project` and write what differs, as unstaged edits.

    One landing at a time per tree; the next one waits. Raises GitRefusal for a tree that cannot be read. On
    every answer but `landed`, and on every error, the tree is byte for byte as it was.
    """
    seen = open_project(project, request.environ, request.repo_id)
    recovered = None
    try:
        with _alone(seen.top, called_off):
            journal = _journal(seen, checkpoint)
            recovered = journal.recover()
            report = _land(seen, depot, request, gates, (journal, called_off))
    except CalledOffError:
        report = LandReport(LandStatus.CALLED_OFF)
    return replace(report, recovered=recovered, tree=str(seen.top), branch=seen.branch)


@translated("mending an earlier landing")
def recover(project: Path, environ: Mapping[str, str] | None = None) -> str | None:
    """Mend what a landing left that was cut off; says what was done, None when there was nothing."""
    seen = open_project(project, environ)
    with _alone(seen.top, never):
        return _journal(seen, lambda name: None).recover()


def _land(seen: GitProject, depot: Depot, request: LandRequest, gates: Gates | None, way: _Way) -> LandReport:
    unless_in_progress(seen)
    import_base(seen, depot)
    with index_copy(seen, depot.path(seen.repo_id)) as index:
        ours_tree, _ = capture(
            seen, depot, index, ListingLimits(skip_large_untracked=True, allowed=request.allowed)
        )
        ours = seen.git.having(GIT_INDEX_FILE=str(index))
        merged, changes = merge_result(depot, request, ours_tree)
        if isinstance(merged, LandReport):
            return explained(depot.git(seen.repo_id), request, seen.head, merged)
        hidden = frozenset(hidden_names(ours.must("ls-files", "-z", "-s", "-v").out))
        if problems := (*forbidden(seen.top, changes, hidden), *own_content(seen, ours, changes)):
            return _refused(problems)
        gate = gates(merged) if gates is not None else None
        unless_called_off(way[1])
        if gate is not None and not gate.ok:
            return not_passed(gate)
        return _written(seen, depot, _Ready(merged.tree, changes, ours), gate, way)


def merge_result(
    depot: Depot, request: LandRequest, ours_tree: str, store: CommitStore | None = None
) -> tuple[Merged | LandReport, tuple[Change, ...]]:
    """The run's result merged into that tree, and what it changes there; a report where there is an end."""
    git = depot.git(request.repo_id)
    merge, theirs = merge_change(git, request.snapshot_commit, request.result_commit, ours_tree, store)
    if merge.conflicts:
        both = "changed here and by the run"
        return _refused(tuple(Conflict(shown(name), both) for name in merge.conflicts)), ()
    changes = changes_between(git, ours_tree, merge.tree)
    if not changes:
        return LandReport(LandStatus.NOTHING), ()
    names = tuple(os.fsdecode(change.path) for change in changes)
    return Merged(merge.tree, names, merge.tree == theirs), changes


def not_passed(gate: LandingGates) -> LandReport:
    """Nothing is written: its gates failed, or a person is asked first."""
    return LandReport(LandStatus.HELD if gate.held else LandStatus.GATE_FAILED, (), gate.held, gate)


def _written(
    seen: GitProject, depot: Depot, merged: _Ready, gate: LandingGates | None, way: _Way
) -> LandReport:
    try:
        _write(seen, depot, merged, way)
    except TreeChanged as changed:
        path = os.fsencode(changed.path)
        return replace(_refused((Conflict(shown(path), "changed while the landing went on"),)), gate=gate)
    return LandReport(LandStatus.LANDED, tuple(shown(change.path) for change in merged.changes), gate=gate)


def _write(seen: GitProject, depot: Depot, merged: _Ready, way: _Way) -> None:
    journal, called_off = way
    journal.create()
    try:
        names = tuple(change.path for change in merged.changes if change.new_mode != "000000")
        stage_files(depot, seen, merged.tree, names, journal.new)
        steps = journal.plan(steps_of(seen.top, merged.changes))
        # Asked after the identities were noted: an edit before this is seen by git, a later one by its note.
        edited = set(split_nul(merged.ours.must("ls-files", "-z", "-m", "-d").out))
        for change in merged.changes:
            if change.path in edited:
                raise TreeChanged(os.fsdecode(change.path))
        unless_called_off(called_off)  # the last moment: what comes now is done whole
    except Exception:
        journal.recover()
        raise
    journal.apply(steps)


def _refused(conflicts: tuple[Conflict, ...]) -> LandReport:
    return LandReport(LandStatus.CONFLICT, conflicts=conflicts)


def _journal(seen: GitProject, checkpoint: Checkpoint) -> LandingJournal:
    """The journal, in the git dir unless that is on another file system than the tree, because
    renames must not cross it."""
    same = os.stat(seen.git_dir).st_dev == os.stat(seen.top).st_dev
    folder = seen.git_dir / "pancode-land" if same else seen.top / ".pancode-land"
    return LandingJournal(folder, seen.top, checkpoint)


@contextmanager
def _alone(top: Path, called_off: CalledOff) -> Iterator[None]:
    """The lock is on the folder itself: it leaves no file, and holds for every coordinator here."""
    handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while not _locked(handle):
            unless_called_off(called_off)
            time.sleep(LOOK_S)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unless_called_off(called_off: CalledOff) -> None:
    """CalledOffError where it is."""
    if called_off():
        raise CalledOffError
