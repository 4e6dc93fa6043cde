"""Copies the user's working tree, untracked files included, into the depot; does not modify the tree."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.wire.git import checked_run, decode_path, split_nul, stamp_env
from pancode.git.depot import Depot
from pancode.git.file_list import Listing, ListingLimits, list_tree
from pancode.git.objects import hash_files, import_base, make_writer, write_commit, write_tree
from pancode.git.repository import GitProject, open_project
from pancode.git.runner import GitRefusal, translate_os_errors
from pancode.kernel.ports import Preview, Progress, ignore_progress


@dataclass(frozen=True, slots=True)
class SnapshotOptions:
    """Snapshot options. `now_ms`: wall time for the commit's date. `environ`: where git finds its settings.

    `folder`: where the run starts, relative to the top; it must exist. `progress`: called with the progress.
    """

    now_ms: int
    limits: ListingLimits = field(default_factory=ListingLimits)
    environ: Mapping[str, str] | None = None
    folder: str = ""
    progress: Progress = ignore_progress


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A commit of the working tree in the depot. `untracked` and `warnings` are for users. `base_commit` is
    None on an unborn branch."""

    repo_id: str
    base_commit: str | None
    snapshot_commit: str
    object_format: str
    untracked: tuple[str, ...]
    warnings: tuple[str, ...]
    branch: str | None
    shallow: bool
    tree: str


@translate_os_errors("the snapshot")
def take_snapshot(project: Path, depot: Depot, run: str, options: SnapshotOptions) -> Snapshot:
    """Commit the current tree around `project` into the depot, under the run's own refs.

    GitRefusal (with paths and fix) for what cannot or must not be sent. A second call for the same run moves
    its refs to a new snapshot.
    """
    checked_run(run)
    seen = open_project(project, options.environ)
    path = depot.ensure(seen.repo_id, seen.object_format)
    import_base(seen, depot)
    with index_copy(seen, path) as index:
        tree, listing = capture_tree(seen, depot, index, options.limits, options.progress)
    if (
        options.folder
        and depot.git(seen.repo_id).ask("cat-file", "-t", f"{tree}:{options.folder}").text() != "tree"
    ):
        raise _no_folder(seen, options.folder)
    stamp = stamp_env("pancode", "pancode@localhost", options.now_ms)
    words = f"Working tree at dispatch of {run}\n".encode()
    commit = write_commit(path, tree, [seen.head] if seen.head else [], stamp, words)
    depot.set_snapshot(seen.repo_id, run, commit, seen.head)
    return Snapshot(
        seen.repo_id,
        seen.head,
        commit,
        seen.object_format,
        tuple(map(decode_path, listing.untracked)),
        listing.warnings,
        seen.branch,
        seen.shallow,
        tree,
    )


@translate_os_errors("reading the working tree")
def tree_now(project: Path, depot: Depot, options: SnapshotOptions) -> str:
    """Return the id of the tree that take_snapshot would commit, with the same refusals; creates no ref."""
    seen = open_project(project, options.environ)
    path = depot.ensure(seen.repo_id, seen.object_format)
    import_base(seen, depot)
    with index_copy(seen, path) as index:
        tree, _ = capture_tree(seen, depot, index, options.limits)
    return tree


@translate_os_errors("reading the working tree")
def preview_snapshot(project: Path, options: SnapshotOptions) -> Preview:
    """Return the snapshot a dispatch would take, with the same refusals; writes only a temporary index."""
    seen = open_project(project, options.environ)
    with index_copy(seen) as index:
        git = seen.git.having(GIT_INDEX_FILE=str(index))
        listing = list_tree(seen, git, options.limits)
        known = split_nul(git.must("ls-files", "-z", "-c").out)
        staged = (
            known
            if seen.head is None
            else split_nul(git.must("diff-index", "--cached", "--name-only", "-z", seen.head).out)
        )
    below = os.fsencode(f"{options.folder}/")
    inside = {name for name in (*known, *listing.names) if name.startswith(below)} - set(listing.gone)
    if options.folder and not any(
        os.path.lexists(os.path.join(os.fsencode(seen.top), name)) for name in inside
    ):
        raise _no_folder(seen, options.folder)
    untracked = set(listing.untracked)
    changed = tuple(map(decode_path, sorted({*listing.names, *staged} - untracked)))
    names = tuple(map(decode_path, listing.untracked))
    return Preview(seen.head, seen.branch, changed, names, listing.warnings)


def _no_folder(project: GitProject, folder: str) -> GitRefusal:
    name, top = (
        decode_path(os.fsencode(folder)),
        f"cd {shlex.quote(str(project.top))}, then run the same command again",
    )
    what = f"a run cannot start in {name}: the snapshot does not contain this directory"
    if ".git" in folder.split("/"):
        return GitRefusal(what, why=".git is never copied: a run has its own repository", fix=top)
    return GitRefusal(
        what,
        why="git does not store empty directories, and ignored files are not copied",
        fix=f"add a file to it that is not ignored, or run from the top: {top}",
    )


@contextmanager
def index_copy(project: GitProject, depot_path: Path | None = None) -> Iterator[Path]:
    """Yield a copy of the index in a temporary folder (mtime kept, or git would miss very recent edits)."""
    with tempfile.TemporaryDirectory(
        prefix="pancode-index-", dir=depot_path, ignore_cleanup_errors=True
    ) as folder:
        index, source = Path(folder) / "index", project.git_dir / "index"
        if source.exists():
            shutil.copy2(source, index)
        yield index


def capture_tree(
    project: GitProject,
    depot: Depot,
    index: Path,
    limits: ListingLimits,
    progress: Progress = ignore_progress,
) -> tuple[str, Listing]:
    """Write the working tree into the depot through `index`; return the tree's id and the listed files."""
    git = make_writer(project, depot.path(project.repo_id), index)
    listing = list_tree(project, git, limits)
    hash_files(git, listing, progress)
    return write_tree(project, depot, git), listing
