"""Lands a merged result, gates run again, in the user's tree: all files or none; index and refs unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.wire.git import Change, checked_object, decode_path, split_nul
from pancode.git.depot import Depot
from pancode.git.file_list import ListingLimits
from pancode.git.landings import (
    RUN,
    CalledOff,
    Conflict,
    Gates,
    LandingGates,
    LandReport,
    LandRequest,
    LandStatus,
    Merged,
    OnBranch,
    with_trailers,
)
from pancode.git.merge import changes_between, merge_change, patch_ids, stage_files, tree_of
from pancode.git.merge_rules import MergeRules, rules_of
from pancode.git.objects import import_base
from pancode.git.repository import GitProject, open_project
from pancode.git.runner import Git, GitRefusal, translate_os_errors
from pancode.git.snapshot import capture_tree, index_copy
from pancode.git.tree.journal import Checkpoint, LandingJournal, TreeChanged
from pancode.git.tree.steps import find_forbidden, own_content, steps_of, unless_in_progress
from pancode.git.tree_lock import CalledOffError, lock_tree, unless_called_off
from pancode.kernel.states import How

FOLDER, LINK = "040000", "120000"
"""The modes of a folder and of a symbolic link in a git tree."""
MOST = 200
"""The most commits of a run that are replayed on a branch."""
MOST_COMPARED = 500
"""The most commits since the dispatch to compare with the change; only those that touch its files count."""


@dataclass(frozen=True, slots=True)
class MadeCommits:
    """The last of the new commits and the tree of that commit."""

    commit: str
    tree: str


CommitWriter = Callable[[str, tuple[str, ...], bytes], str]
"""A function that writes a commit as the user, given tree, parents and message."""


def commits_of(
    git: Git,
    write: CommitWriter,
    request: LandRequest,
    target: OnBranch,
    tip: str | None,
    merged: Merged,
    rules: MergeRules,
) -> MadeCommits | LandReport:
    """Make the commits to land, only in the depot; return a report if a commit of the run conflicts."""
    if target.how is How.SQUASH or (target.how is How.MERGE and request.base is None):
        parents = tuple(filter(None, (tip,)))
        return MadeCommits(_commit(write, merged.tree, parents, target.message, target), merged.tree)
    begin = tip if target.how is How.REBASE else request.base
    replayed = _replay_commits(git, write, request, target, begin, rules)
    if isinstance(replayed, LandReport) or target.how is How.REBASE:
        return replayed
    parents = tuple(filter(None, (tip, replayed.commit)))
    return MadeCommits(_commit(write, merged.tree, parents, target.message, target), merged.tree)


def _replay_commits(
    git: Git,
    write: CommitWriter,
    request: LandRequest,
    target: OnBranch,
    begin: str | None,
    rules: MergeRules,
) -> MadeCommits | LandReport:
    tree, last, before = tree_of(git, begin), begin, request.snapshot_commit
    for commit in _own_commits(git, request):
        merge, _ = merge_change(git, before, commit, tree, None, rules)
        if merge.conflicts:
            why = (
                f"commit {commit[:12]} of the run cannot be applied alone; land the whole change as one: "
                "--how squash"
            )
            return LandReport(
                LandStatus.CONFLICT,
                conflicts=tuple(Conflict(decode_path(name), why) for name in merge.conflicts),
            )
        if merge.tree != tree:
            tree, words = merge.tree, git.must("log", "-1", "--format=%B", commit).out
            last = _commit(write, tree, (last,) if last else (), words.decode("utf-8", "replace"), target)
        before = commit
    assert last is not None  # a landing with an empty change was already reported
    return MadeCommits(last, tree)


def _own_commits(git: Git, request: LandRequest) -> list[str]:
    """Return the run's commits, oldest first; only the final commit if its history does not begin at the
    snapshot."""
    old, new = checked_object(request.snapshot_commit), checked_object(request.final_commit)
    if not git.ask("merge-base", "--is-ancestor", old, new).ok:
        return [new]
    found = git.text("rev-list", "--first-parent", "--reverse", f"{old}..{new}").split()
    if len(found) > MOST:
        raise GitRefusal(
            f"the run made {len(found)} commits",
            why=f"at most {MOST} commits are replayed",
            fix="combine the commits into one: --how squash",
        )
    return found or [new]


def _commit(write: CommitWriter, tree: str, parents: tuple[str, ...], words: str, target: OnBranch) -> str:
    return write(tree, parents, with_trailers(words, target.trailers).encode())


def explain_merge(git: Git, request: LandRequest, tip: str | None, report: LandReport) -> LandReport:
    """Return a report on a merge with conflicts or no change: `nothing to land` if the change landed before.

    Other merges are not passed here: a change that was landed and reverted merges cleanly, and lands again.
    """
    if tip is None:
        return report
    commit, words = _find_landed(git, request, tip)
    back = bool(commit) and report.status is LandStatus.CONFLICT and _is_reverted(git, commit, tip)
    if commit and not back:
        return LandReport(
            LandStatus.NOTHING, already=f"the change has already landed, found by {words}", commit=""
        )
    if report.status is LandStatus.NOTHING:
        return replace(report, already="your tree already has the same content")
    return report


def _is_reverted(git: Git, commit: str, tip: str) -> bool:
    """Whether a later commit states that it reverts this commit, and was not reverted itself."""
    options = ("--fixed-strings", f"--grep=This reverts commit {commit}", "-n", "1", "--format=%H")
    later = git.text("log", *options, tip, f"^{commit}")
    return bool(later) and not _is_reverted(git, later, tip)


def _find_landed(git: Git, request: LandRequest, tip: str) -> tuple[str, str]:
    if git.ask("merge-base", "--is-ancestor", request.final_commit, tip).ok:
        return request.final_commit, f"ancestry: {request.final_commit[:12]} is in the history"
    since = [f"^{request.base}"] if request.base and _has_commit(git, request.base) else []
    if request.run:
        mark = ("--fixed-strings", f"--grep={RUN}: {request.run}", "-n", "1", "--format=%H")
        if marked := git.text("log", *mark, tip, *since):
            return marked, f"ancestry: commit {marked[:12]} has landed this run"
    patch = ("-p", "-r", "--no-renames", "--no-ext-diff", "--no-textconv", "--binary")
    mine = git.must("diff-tree", *patch, request.snapshot_commit, request.final_commit).out
    names = git.must("diff-tree", "-r", "-z", "--name-only", request.snapshot_commit, request.final_commit)
    paths = [name for name in names.out.split(b"\0") if name and b"\n" not in name]
    stdin = b"\n".join([*(rev.encode() for rev in (tip, *since)), b"--", *paths]) + b"\n"
    others = git.must("rev-list", "--no-merges", "-n", str(MOST_COMPARED), "--stdin", stdin=stdin).out
    wanted = patch_ids(git, mine)
    if not others.strip() or not wanted:
        return "", ""
    theirs = patch_ids(git, git.must("diff-tree", *patch, "--stdin", stdin=others).out)
    for patch_id, commit in theirs.items():
        if patch_id in wanted:
            return commit, f"an equal patch: commit {commit[:12]}"
    return "", ""


def _has_commit(git: Git, commit: str) -> bool:
    return git.ask("cat-file", "-e", f"{commit}^{{commit}}").ok


@dataclass(frozen=True, slots=True)
class _Ready:
    """A merge ready to be written. `ours`: git with an index of the user's files as before the merge."""

    tree: str
    changes: tuple[Change, ...]
    ours: Git


_Way = tuple[LandingJournal, CalledOff]
"""The journal that writes a landing, and the function that tells whether the landing was called off."""


@translate_os_errors("the landing")
def land(
    project: Path,
    depot: Depot,
    request: LandRequest,
    gates: Gates | None = None,
    checkpoint: Checkpoint = lambda name: None,
    called_off: CalledOff = lambda: False,
) -> LandReport:
    """Merge the result into the tree around `project` and write the differences as unstaged edits.

    Landings in one tree run one after another. Raises GitRefusal for a tree that cannot be read. The tree
    stays byte for byte the same after an error and after every status except `landed`.
    """
    seen = open_project(project, request.environ, request.repo_id)
    recovered = None
    try:
        with lock_tree(seen.top, called_off):
            journal = _open_journal(seen, checkpoint)
            recovered = journal.recover()
            report = _land(seen, depot, request, gates, (journal, called_off))
    except CalledOffError:
        report = LandReport(LandStatus.CALLED_OFF)
    return replace(report, recovered=recovered, tree=str(seen.top), branch=seen.branch)


@translate_os_errors("repairing an earlier landing")
def recover(project: Path, environ: Mapping[str, str] | None = None) -> str | None:
    """Repair what an interrupted landing left. Return what was done, or None if no repair was needed."""
    seen = open_project(project, environ)
    with lock_tree(seen.top):
        return _open_journal(seen, lambda name: None).recover()


def _land(seen: GitProject, depot: Depot, request: LandRequest, gates: Gates | None, way: _Way) -> LandReport:
    unless_in_progress(seen)
    import_base(seen, depot)
    with index_copy(seen, depot.path(seen.repo_id)) as index:
        ours_tree, listing = capture_tree(
            seen, depot, index, ListingLimits(skip_large_untracked=True, allowed=request.allowed)
        )
        ours = seen.git.having(GIT_INDEX_FILE=str(index))
        merged, changed = merge_result(depot, request, ours_tree, seen)
        if isinstance(merged, LandReport):
            return explain_merge(depot.git(seen.repo_id), request, seen.head, merged)
        changes = files_of(changed)
        hidden = frozenset(listing.hidden)
        if problems := (*find_forbidden(seen.top, changes, hidden), *own_content(seen, ours, changes)):
            return _make_conflict_report(problems)
        gate = gates(merged) if gates is not None else None
        unless_called_off(way[1])
        if gate is not None and not gate.ok:
            return not_passed(gate)
        ready = _Ready(merged.tree, changes, ours)
        try:
            _write(seen, depot, ready, way)
        except TreeChanged as changed:
            path = os.fsencode(changed.path)
            return replace(
                _make_conflict_report((Conflict(decode_path(path), "changed during the landing"),)), gate=gate
            )
        return LandReport(
            LandStatus.LANDED, tuple(decode_path(change.path) for change in ready.changes), gate=gate
        )


def merge_result(
    depot: Depot, request: LandRequest, ours_tree: str, seen: GitProject
) -> tuple[Merged | LandReport, tuple[Change, ...]]:
    """Merge the run's result into this tree and list the changes, also those of folders. Return a report
    instead if the landing ends here."""
    git, old, new = depot.git(request.repo_id), request.snapshot_commit, request.final_commit
    rules = rules_of(seen, request.run)
    merge, theirs = merge_change(git, old, new, ours_tree, depot.facts_of(old, new), rules)
    if merge.conflicts:
        both = "changed here and by the run"
        return _make_conflict_report(tuple(Conflict(decode_path(name), both) for name in merge.conflicts)), ()
    changes = changes_between(git, ours_tree, merge.tree)
    if not changes:
        return LandReport(LandStatus.NOTHING), ()
    links = {os.fsdecode(change.path): change.new_mode == LINK for change in files_of(changes)}
    plain = frozenset(name for name, is_link in links.items() if not is_link)
    return Merged(ours_tree, merge.tree, tuple(links), merge.tree == theirs, plain=plain), changes


def files_of(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes without those of folders."""
    return tuple(change for change in changes if FOLDER not in (change.old_mode, change.new_mode))


def not_passed(gate: LandingGates) -> LandReport:
    """Return the report of a landing that writes nothing: gates failed or a user must approve first."""
    return LandReport(LandStatus.HELD if gate.held else LandStatus.GATE_FAILED, (), gate.held, gate)


def _write(seen: GitProject, depot: Depot, merged: _Ready, way: _Way) -> None:
    journal, called_off = way
    journal.create()
    try:
        names = tuple(change.path for change in merged.changes if change.new_mode != "000000")
        stage_files(depot, seen, merged.tree, names, journal.new)
        steps = journal.plan(steps_of(seen.top, merged.changes))
        # Query git after recording the identities: git sees edits made before, and an identity reveals edits
        # made later.
        edited = set(split_nul(merged.ours.must("ls-files", "-z", "-m", "-d").out))
        for change in merged.changes:
            if change.path in edited:
                raise TreeChanged(os.fsdecode(change.path))
        # last check whether the landing was called off: after this, it is completed
        unless_called_off(called_off)
    except Exception:
        journal.recover()
        raise
    journal.apply(steps)


def _make_conflict_report(conflicts: tuple[Conflict, ...]) -> LandReport:
    return LandReport(LandStatus.CONFLICT, conflicts=conflicts)


def _open_journal(seen: GitProject, checkpoint: Checkpoint) -> LandingJournal:
    """Return the journal, in the git directory, or in the tree if the git directory is on another file
    system, because a rename cannot cross file systems."""
    same = os.stat(seen.git_dir).st_dev == os.stat(seen.top).st_dev
    folder = seen.git_dir / "pancode-land" if same else seen.top / ".pancode-land"
    return LandingJournal(folder, seen.top, checkpoint)
