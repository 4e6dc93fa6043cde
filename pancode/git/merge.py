"""Merges a result into the current tree, in the depot only; the merged tree becomes a snapshot for nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.git import Change, checked_object, parse_raw_diff, split_nul, stamp_env
from pancode.git.depot import CommitFacts, Depot, read_commits
from pancode.git.merge_rules import MergeRules, git_with_rules, refuse_other_rules
from pancode.git.objects import write_commit
from pancode.git.repository import GitProject
from pancode.git.runner import Git, GitFailure, GitRefusal, safe_env

# Commits that only carry trees get constant dates and names, so that a repeated merge makes no new objects.
_STAMP = stamp_env("pancode", "pancode@localhost", 1_000_000_000_000)
# Its date is after the parents': git visits the newest commits first, and would otherwise walk all history.
_LATE = stamp_env("pancode", "pancode@localhost", 4_000_000_000_000)


_TREES_ONLY = MergeRules()
_TREE = b"tree\n"
"""The message of a commit that only carries a tree."""


@dataclass(frozen=True, slots=True)
class Merge:
    """The result of a merge. `tree`: the merged tree, which cannot be used if there are `conflicts`."""

    tree: str
    conflicts: tuple[bytes, ...]


def tree_of(git: Git, commit: str | None) -> str:
    """Return the tree of a commit, or the empty tree."""
    return git.text("rev-parse", "--verify", f"{commit}^{{tree}}") if commit else git.text("mktree")


def merge_change(
    git: Git,
    begins: str,
    result: str,
    ours: str,
    known: tuple[CommitFacts, CommitFacts] | None = None,
    rules: MergeRules = _TREES_ONLY,
) -> tuple[Merge, str]:
    """Merge the change from `begins` to `result` into the tree `ours`; return also the tree of `result`. The
    history of `ours` does not matter, so a cherry-picked or rebased branch merges in the same way. `known`:
    the facts of both commits. GitRefusal for a file that git merges by a rule that PanCode does not follow.
    """
    if checked_object(begins) == checked_object(result):
        return Merge(ours, ()), read_commits(git, result)[0].tree
    base, made = known or read_commits(git, begins, result)
    before, theirs = base.tree, made.tree
    if before in (ours, theirs) or ours == theirs:
        return Merge(theirs if before == ours else ours, ()), theirs
    # git 2.39 has no --merge-base; a commit with the tree `ours` and parent `begins` makes `begins` the base.
    mine = write_commit(git.cwd, ours, (begins,), _LATE, _TREE)
    side = result if begins in made.parents else write_commit(git.cwd, theirs, (begins,), _LATE, _TREE)
    return merge_commits(git, mine, side, rules), theirs


def tree_commit(git: Git, tree: str, *parents: str) -> str:
    """Make a commit that only carries a tree and these parents; equal input gives the same commit."""
    return write_commit(git.cwd, tree, parents, _STAMP, _TREE)


def merge_commits(git: Git, ours: str, theirs: str, rules: MergeRules = _TREES_ONLY) -> Merge:
    """Merge two commits from their common ancestor; if there are several, git merges these first."""
    with git_with_rules(git.having(**_STAMP), ours, rules) as ruled:
        done = ruled.ask("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
        if done.status not in (0, 1):
            raise GitFailure(("merge-tree",), done.status, done.err)
        tree, *names = split_nul(done.out)
        conflicts = tuple(sorted(set(names))) if done.status == 1 else ()
        if rules.drivers or rules.settings:
            mine, made = (
                {
                    change.path
                    for change in changes_between(git, side, tree.decode())
                    if "040000" not in (change.old_mode, change.new_mode)
                }
                for side in (ours, theirs)
            )
            refuse_other_rules(ruled, rules, {*conflicts, *(mine & made)})
    return Merge(tree.decode(), conflicts)


def changes_between(git: Git, old_tree: str, new_tree: str) -> tuple[Change, ...]:
    """Return the changed files, and the folders that contain them."""
    raw = git.must("diff-tree", "-t", "-z", "--raw", "--no-renames", "--no-abbrev", old_tree, new_tree).out
    return tuple(parse_raw_diff(raw))


def patch_ids(git: Git, patches: bytes) -> dict[str, str]:
    """Return the commits by the git patch-id of their patches; of equal patches the first one."""
    rows = git.must("patch-id", "--stable", stdin=patches).text().splitlines() if patches else []
    return {patch: commit for patch, _, commit in (row.partition(" ") for row in reversed(rows))}


def commit_of(depot: Depot, repo_id: str, tree: str, base: str | None) -> str:
    """Make and return a commit of a tree of the depot; equal input gives the same commit."""
    return write_commit(depot.path(repo_id), tree, [base] if base else [], _STAMP, b"merged tree\n")


def publish_snapshot(depot: Depot, repo_id: str, run: str, commit: str, base: str | None) -> None:
    """Make a commit of the depot the snapshot of a run, so that nodes can fetch it. Idempotent. Raises
    GitRefusal if the depot no longer has that commit."""
    if not depot.has_commit(repo_id, commit):
        raise GitRefusal(
            f"commit {commit[:12]} is no longer in the depot",
            fix="dispatch the work again; in a workspace: pancode workspace repair NAME",
        )
    depot.set_snapshot(repo_id, run, commit, base)


def stage_files(depot: Depot, project: GitProject, tree: str, names: tuple[bytes, ...], target: Path) -> None:
    """Write these files of a tree below `target`, with the line endings of the user's repository."""
    index = target.parent / "stage.index"
    env = safe_env(project.line_ends) | {"GIT_DIR": str(depot.path(project.repo_id))}
    git = Git(target, env | {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(target)})
    git.must("read-tree", tree)
    git.must("checkout-index", "-q", "-z", "--stdin", stdin=b"".join(name + b"\0" for name in names))
    index.unlink()
