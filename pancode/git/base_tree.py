"""Makes the tree with which a run begins, if it is a step of a workflow or resolves a conflict."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.git import checked_object, decode_path, result_prefix, split_nul
from pancode.git.conflict_markers import has_markers
from pancode.git.depot import Depot
from pancode.git.file_list import ListingLimits
from pancode.git.landings import Conflict, ConflictState, LandRequest
from pancode.git.merge import commit_of, merge_change, merge_commits, tree_commit, tree_of
from pancode.git.merge_rules import rules_of
from pancode.git.objects import import_tip
from pancode.git.repository import GitProject, open_project
from pancode.git.runner import Git, translate_os_errors
from pancode.git.snapshot import capture_tree, index_copy
from pancode.kernel.ports import Composed, Composition, MergeConflictError

_LINK, _FOLDER_OF_GIT = b"120000", b"160000"


@dataclass(frozen=True, slots=True)
class _Edit:
    """A change of a tree: names to remove (a folder with its content), and files to add afterwards."""

    gone: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()


@translate_os_errors("preparing the step's files")
def compose_commit(depot: Depot, wanted: Composition) -> Composed:
    """Compose the commit, only in the depot. MergeConflictError lists the files; the results are kept."""
    git, depot_path = depot.git(wanted.repo), depot.path(wanted.repo)
    handed = _Edit((wanted.folder,), tuple(wanted.files.items()))
    bare = _Edit((wanted.folder,))
    origin = _edit_tree(git, depot_path, tree_of(git, wanted.origin), bare)
    merged = _merge_results(git, wanted, _Lineage(git, depot_path, wanted, origin, bare))
    # Add these even if origin has them: a file committed earlier must not count as written by this step.
    begun = _Edit((*handed.gone, *wanted.without), handed.files)
    tree = _edit_tree(git, depot_path, merged, begun)
    snapshot = commit_of(depot, wanted.repo, tree, wanted.base)
    begins = commit_of(depot, wanted.repo, _edit_tree(git, depot_path, origin, handed), wanted.base)
    git.must("update-ref", f"{result_prefix(wanted.run)}origin", begins)
    return Composed(snapshot, begins)


class _Lineage:
    """The results of steps as commits of one history, so that git itself finds their common ancestors."""

    def __init__(self, git: Git, depot: Path, wanted: Composition, origin: str, bare: _Edit) -> None:
        self._git, self._depot, self._wanted, self._bare = git, depot, wanted, bare
        self._root = tree_commit(git, origin)
        self._made: dict[str, str] = {}

    def tree(self, commit: str) -> str:
        """Return the tree of a result, without the files that were given to its step."""
        return _edit_tree(self._git, self._depot, tree_of(self._git, commit), self._bare)

    def commit(self, step: str) -> str:
        """Return the commit of a step. KeyError if the history lists a step before one it began from."""
        if not self._made:
            for name, known in self._wanted.history.items():
                parents = [self._made[one] for one in known.began_from]
                self._made[name] = self._commit(name, known.commit, parents)
        if step not in self._made:
            self._made[step] = self._commit(step, self._wanted.results[step], [])
        return self._made[step]

    def _commit(self, step: str, commit: str, parents: list[str]) -> str:
        return tree_commit(self._git, self._on_origin(step, commit), *(parents or [self._root]))

    def _on_origin(self, step: str, commit: str) -> str:
        """Return the result's tree. If its run began with other files than origin, apply its change there.

        A retried step begins at the user's files of that time. Without this, older steps' results would seem
        to revert later changes of the user.
        """
        wanted, tree = self._wanted, self.tree(commit)
        began = wanted.origins.get(step, wanted.origin)
        base = self._root if began == wanted.origin else tree_commit(self._git, self.tree(began))
        if base == self._root:
            return tree
        result = tree_commit(self._git, tree, base)
        merge, _ = merge_change(self._git, base, result, tree_of(self._git, self._root))
        if merge.conflicts:
            raise _make_conflict_error(
                [decode_path(path) for path in merge.conflicts], ["the project's current files"], step
            )
        return merge.tree


def _merge_results(git: Git, wanted: Composition, lineage: _Lineage) -> str:
    """Return the merge of all results, or the origin's tree if there are none."""
    if not wanted.results:
        return lineage.tree(wanted.origin)
    (first, commit), *others = wanted.results.items()
    done, merged = [first], lineage.tree(commit)
    ours = lineage.commit(first) if others else ""
    for name, _ in others:
        theirs = lineage.commit(name)
        merge = merge_commits(git, ours, theirs)
        if merge.conflicts and not wanted.marked:
            raise _make_conflict_error([decode_path(path) for path in merge.conflicts], done, name)
        merged, ours = merge.tree, tree_commit(git, merge.tree, ours, theirs)
        done.append(name)
    return merged


def _make_conflict_error(files: list[str], done: list[str], name: str) -> MergeConflictError:
    return MergeConflictError(
        f"merge conflict: {', '.join(files[:20])}",
        why=f"{' and '.join(done)} changed these files differently from {name}; both results are kept",
        fix="let an agent resolve the conflict: pancode workflow resume WORKFLOW --resolve",
        code="merge_conflict",
        details={"files": "\n".join(files)},
    )


def _edit_tree(git: Git, depot: Path, tree: str, edit: _Edit) -> str:
    gone = _list_names(git, tree, edit.gone)
    if not gone and not edit.files:
        return tree
    blobs = [(name, git.must("hash-object", "-w", "--stdin", stdin=data).text()) for name, data in edit.files]
    zero = "0" * len(tree)
    rows = [b"0 " + zero.encode() + b"\t" + name + b"\0" for name in gone]
    rows += [f"100644 {blob}\t{name}\0".encode() for name, blob in blobs]
    with tempfile.TemporaryDirectory(prefix="pancode-step-", dir=depot, ignore_cleanup_errors=True) as folder:
        indexed = git.having(GIT_INDEX_FILE=str(Path(folder) / "index"))
        indexed.must("read-tree", tree)
        indexed.must("update-index", "-z", "--index-info", stdin=b"".join(rows))
        return indexed.must("write-tree").text()


def _list_names(git: Git, tree: str, below: Iterable[str]) -> tuple[bytes, ...]:
    """Return the files of a tree that have one of these names or are in a folder with such a name."""
    wanted = tuple(below)
    if not wanted:
        return ()
    return tuple(split_nul(git.must("ls-tree", "-r", "-z", "--name-only", tree, "--", *wanted).out))


@translate_os_errors("reading the conflict")
def conflict_state(project: Path, depot: Depot, request: LandRequest, branch: str) -> ConflictState:
    """Return a conflict's state, made only in the depot. `branch` empty: with the user's files and edits."""
    seen = open_project(project, request.environ, request.repo_id)
    tip = seen.head
    if branch:
        tip = seen.git.ask("rev-parse", "-q", "--verify", f"refs/heads/{branch}^{{commit}}").text() or tip
    import_tip(seen, depot, tip)
    git = depot.git(seen.repo_id)
    ours = tree_of(git, tip) if branch else _files_tree(depot, seen, request)
    rules = rules_of(seen, request.run)
    merge, _ = merge_change(git, request.snapshot_commit, request.final_commit, ours, None, rules)
    own_side = commit_of(depot, seen.repo_id, ours, tip)
    # own_side is the parent of this commit, so git keeps both equally long
    both = commit_of(depot, seen.repo_id, merge.tree, own_side)
    return ConflictState(both, own_side, tip, tuple(map(decode_path, merge.conflicts)))


@translate_os_errors("checking the resolved conflict")
def find_unsettled(
    depot: Depot, repo: str, marked: str, result: str, files: Iterable[str]
) -> tuple[Conflict, ...]:
    """Return the files whose conflict the result has not resolved. `marked`: the commit with both sides of
    the conflict, whose parent is the user's side; `files`: the conflicting files."""
    git, marked = depot.git(repo), checked_object(marked)
    before, now = _read_entries(git, marked), _read_entries(git, checked_object(result))
    ours = _read_entries(git, f"{marked}^")
    found = []
    for name in files:
        old, new = before.get(name), now.get(name)
        if old is not None and new == old:
            found.append(Conflict(name, "is unchanged since the conflict began"))
        elif old and new and has_markers(*(_text(git, one) for one in (old, ours.get(name), new))):
            found.append(Conflict(name, "still contains conflict markers"))
    return tuple(found)


def _read_entries(git: Git, commit: str) -> dict[str, tuple[bytes, str]]:
    """Return the mode and object id of each file, by the name that users see."""
    rows = (row.partition(b"\t") for row in split_nul(git.must("ls-tree", "-r", "-z", commit).out))
    return {decode_path(name): (meta.split()[0], meta.split()[2].decode()) for meta, _, name in rows}


def _text(git: Git, entry: tuple[bytes, str] | None) -> bytes:
    if entry is None or entry[0] in (_LINK, _FOLDER_OF_GIT):
        return b""
    return bytes(git.must("cat-file", "blob", entry[1]).out)


def _files_tree(depot: Depot, seen: GitProject, request: LandRequest) -> str:
    limits = ListingLimits(skip_large_untracked=True, allowed=request.allowed)
    with index_copy(seen, depot.path(seen.repo_id)) as index:
        tree, _ = capture_tree(seen, depot, index, limits)
    return str(tree)
