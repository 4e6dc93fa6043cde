"""Makes the commits of a landing in the depot, and finds a change that is landed already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from node_agent.wire.git import checked_object, shown
from pancode.code.git.merge import merge_change, tree_of
from pancode.code.git.safe import Git, GitRefusal
from pancode.code.landing.commits import RUN, with_trailers
from pancode.life.land_values import Conflict, How, LandReport, LandRequest, LandStatus, Merged, OnBranch

MOST = 200
"""The most commits of a run that are replayed."""
MOST_COMPARED = 500
"""The most commits since the dispatch that are compared, of those that touch its files."""


@dataclass(frozen=True, slots=True)
class MadeCommits:
    """The last of the new commits, and its tree."""

    commit: str
    tree: str


CommitWriter = Callable[[str, tuple[str, ...], bytes], str]
"""Writes a commit of the user's: tree, parents, message."""


def commits_of(
    git: Git, write: CommitWriter, request: LandRequest, target: OnBranch, tip: str | None, merged: Merged
) -> MadeCommits | LandReport:
    """The commits to land, in the depot only; a report when the run's commits conflict one by one."""
    if target.how is How.SQUASH or (target.how is How.MERGE and request.base is None):
        parents = tuple(filter(None, (tip,)))
        return MadeCommits(_commit(write, merged.tree, parents, target.message, target), merged.tree)
    begin = tip if target.how is How.REBASE else request.base
    replayed = _replayed(git, write, request, target, begin)
    if isinstance(replayed, LandReport) or target.how is How.REBASE:
        return replayed
    parents = tuple(filter(None, (tip, replayed.commit)))
    return MadeCommits(_commit(write, merged.tree, parents, target.message, target), merged.tree)


def _replayed(
    git: Git, write: CommitWriter, request: LandRequest, target: OnBranch, begin: str | None
) -> MadeCommits | LandReport:
    tree = tree_of(git, begin) if begin else git.must("mktree", stdin=b"").text()
    last, before = begin, request.snapshot_commit
    for commit in _own_commits(git, request):
        merge, _ = merge_change(git, before, commit, tree)
        if merge.conflicts:
            return _one_by_one(commit, merge.conflicts)
        if merge.tree != tree:
            tree, words = merge.tree, git.must("log", "-1", "--format=%B", commit).out
            last = _commit(write, tree, (last,) if last else (), words.decode("utf-8", "replace"), target)
        before = commit
    assert last is not None  # a change that is no change was told before
    return MadeCommits(last, tree)


def _own_commits(git: Git, request: LandRequest) -> list[str]:
    """Oldest first; the result alone where its history does not begin at the snapshot."""
    old, new = checked_object(request.snapshot_commit), checked_object(request.result_commit)
    if not git.ask("merge-base", "--is-ancestor", old, new).ok:
        return [new]
    found = git.text("rev-list", "--first-parent", "--reverse", f"{old}..{new}").split()
    if len(found) > MOST:
        raise GitRefusal(
            f"the run has made {len(found)} commits",
            why=f"at most {MOST} are replayed",
            fix="--how squash makes one of them",
        )
    return found or [new]


def _one_by_one(commit: str, files: tuple[bytes, ...]) -> LandReport:
    why = f"the run's commit {commit[:12]} does not fit by itself; the whole change may: --how squash"
    return LandReport(LandStatus.CONFLICT, conflicts=tuple(Conflict(shown(name), why) for name in files))


def _commit(write: CommitWriter, tree: str, parents: tuple[str, ...], words: str, target: OnBranch) -> str:
    return write(tree, parents, with_trailers(words, target.trailers).encode())


def explained(git: Git, request: LandRequest, tip: str | None, report: LandReport) -> LandReport:
    """The report of a merge that changes nothing, or conflicts; `nothing to land` where it is landed already.

    Only these are looked at: a change that was landed and taken back merges cleanly, and is landed again.
    """
    if tip is None:
        return report
    commit, words = _found(git, request, tip)
    back = bool(commit) and report.status is LandStatus.CONFLICT and _is_reverted(git, commit, tip)
    if commit and not back:
        return LandReport(LandStatus.NOTHING, already=f"it is landed already, found by {words}", commit="")
    if report.status is LandStatus.NOTHING:
        return replace(report, already="your tree has the same content already")
    return report


def _is_reverted(git: Git, commit: str, tip: str) -> bool:
    """Whether a later commit says that it reverts this one, and was not reverted itself."""
    asked = ("--fixed-strings", f"--grep=This reverts commit {commit}", "-n", "1", "--format=%H")
    later = git.text("log", *asked, tip, f"^{commit}")
    return bool(later) and not _is_reverted(git, later, tip)


def _found(git: Git, request: LandRequest, tip: str) -> tuple[str, str]:
    if git.ask("merge-base", "--is-ancestor", request.result_commit, tip).ok:
        return request.result_commit, f"ancestry: {request.result_commit[:12]} is in the history"
    since = [f"^{request.base}"] if request.base and _known(git, request.base) else []
    if request.run:
        mark = ("--fixed-strings", f"--grep={RUN}: {request.run}", "-n", "1", "--format=%H")
        if marked := git.text("log", *mark, tip, *since):
            return marked, f"ancestry: commit {marked[:12]} has landed this run"
    return _equal_patch(git, request, tip, since)


def _equal_patch(git: Git, request: LandRequest, tip: str, since: list[str]) -> tuple[str, str]:
    patch = ("-p", "-r", "--no-renames", "--no-ext-diff", "--no-textconv", "--binary")
    mine = git.must("diff-tree", *patch, request.snapshot_commit, request.result_commit).out
    names = git.must("diff-tree", "-r", "-z", "--name-only", request.snapshot_commit, request.result_commit)
    paths = [name for name in names.out.split(b"\0") if name and b"\n" not in name]
    asked = b"\n".join([*(rev.encode() for rev in (tip, *since)), b"--", *paths]) + b"\n"
    others = git.must("rev-list", "--no-merges", "-n", str(MOST_COMPARED), "--stdin", stdin=asked).out
    wanted = _ids(git, mine)
    if not others.strip() or not wanted:
        return "", ""
    theirs = _ids(git, git.must("diff-tree", *patch, "--stdin", stdin=others).out)
    for patch_id, commit in theirs.items():
        if patch_id in wanted:
            return commit, f"an equal patch: commit {commit[:12]}"
    return "", ""


def _ids(git: Git, patches: bytes) -> dict[str, str]:
    """Commit by the id of its patch."""
    if not patches:
        return {}
    rows = git.must("patch-id", "--stable", stdin=patches).text().splitlines()
    return {row.split()[0]: row.split()[1] for row in rows if len(row.split()) == 2}


def _known(git: Git, commit: str) -> bool:
    return git.ask("cat-file", "-e", f"{commit}^{{commit}}").ok
