"""Implements the port `DepotPort`: snapshots and arrived results, in the types of the control plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.wire.clock import Clock
from node_agent.wire.git import checked_object, decode_path, split_nul
from node_agent.wire.identity import AttemptId
from pancode.git.base_tree import compose_commit
from pancode.git.depot import Depot
from pancode.git.diff import diff_patch, diff_stat, format_history, format_stat, shown_change
from pancode.git.file_list import ListingLimits
from pancode.git.log_store import LogStreams
from pancode.git.merge import publish_snapshot
from pancode.git.repository import open_project
from pancode.git.runner import Git, GitFailure, GitRefusal, any_owner_env
from pancode.git.snapshot import SnapshotOptions, preview_snapshot, take_snapshot, tree_now
from pancode.kernel.errors import UnavailableError
from pancode.kernel.ports import Composed, Composition, Preview, ResultPlace, SnapshotRequest, SnapshotTaken

MOST_COMMITS = 10_000
"""The most commits that are counted between a result and its base."""
PRINTED, ANSWER = "out", "answer"
"""The output stream that contains the answer: of a script, and of an agent."""


@dataclass(frozen=True, slots=True)
class GitDepot:
    """Takes snapshots into a depot, reads results. `environ`: for git settings (None: the coordinator's)."""

    depot: Depot
    streams: LogStreams
    clock: Clock
    limits: ListingLimits = ListingLimits()
    environ: Mapping[str, str] | None = None

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        """Take a snapshot of the tree around the project. Raises GitRefusal (a WorkspaceError) with paths and
        fix, also while the disk is so full that no result could be stored."""
        self._must_have_room()
        limits = replace(self.limits, allowed=wanted.allowed)
        options = SnapshotOptions(self.clock.wall_ms(), limits, self.environ, wanted.folder, wanted.progress)
        snapshot = take_snapshot(Path(wanted.project), self.depot, wanted.run, options)
        return SnapshotTaken(
            repo=snapshot.repo_id,
            base=snapshot.base_commit,
            snapshot=snapshot.snapshot_commit,
            object_format=snapshot.object_format,
            untracked=snapshot.untracked,
            warnings=snapshot.warnings,
            tree=snapshot.tree,
        )

    def preview(self, project: str, folder: str, allowed: tuple[str, ...]) -> Preview:
        """Return what a snapshot would contain. Raises GitRefusal as `snapshot` does."""
        options = SnapshotOptions(0, replace(self.limits, allowed=allowed), self.environ, folder)
        return preview_snapshot(Path(project), options)

    def tree_now(self, project: str, allowed: tuple[str, ...]) -> str:
        """Return the id of the tree of the current files. Raises GitRefusal with paths and fix."""
        self._must_have_room()
        options = SnapshotOptions(self.clock.wall_ms(), replace(self.limits, allowed=allowed), self.environ)
        return tree_now(Path(project), self.depot, options)

    def begin_at(self, run: str, snapshot: SnapshotTaken) -> None:
        """Start the run at the snapshot's commit. Raises GitRefusal if the depot no longer has it."""
        self._must_have_room()
        publish_snapshot(self.depot, snapshot.repo, run, snapshot.snapshot, snapshot.base)

    def compose(self, wanted: Composition) -> Composed:
        """Make the commit at which a step begins. Raises MergeConflictError, GitRefusal. Idempotent."""
        return compose_commit(self.depot, wanted)

    def read_file(self, repo: str, commit: str, path: str, most: int) -> bytes | None:
        """Return a file of a result; None if it does not exist or is larger than `most` bytes."""
        git, name = self.depot.git(repo), f"{commit}:{path}"
        size = git.ask("cat-file", "-s", name)
        kind = git.ask("cat-file", "-t", name).text()
        if not size.ok or kind != "blob" or int(size.text()) > most:
            return None
        return bytes(git.must("cat-file", "blob", name).out)

    def has_commit(self, repo: str, commit: str) -> bool:
        """Whether the depot has the commit; False too if the depot does not have the repository."""
        return self.depot.has_commit(repo, commit)

    def file_names(self, repo: str, commit: str) -> list[str]:
        """Return the names of all files of a result; bytes that are not UTF-8 are escaped as \\xNN."""
        found = split_nul(self.depot.git(repo).must("ls-tree", "-r", "-z", "--name-only", commit).out)
        return [decode_path(name) for name in found]

    def lines_changed(self, repo: str, old: str, new: str) -> int:
        """Return the number of added plus removed lines; a binary file counts as one line."""
        rows = (
            self.depot.git(repo).text("diff-tree", "-r", "--numstat", "--no-renames", old, new).splitlines()
        )
        counts = [row.split("\t")[:2] for row in rows if row.count("\t") >= 2]
        return sum(sum(int(n) if n.isdigit() else 1 for n in pair) for pair in counts)

    def ahead_and_behind(self, project: str, result: ResultPlace) -> tuple[int | None, int | None]:
        """Count the result's own commits, and the project's commits since the base; None: unknown. The latter
        are counted in the project, because the depot gets a user's commits only with a snapshot."""
        ahead = _count_commits(lambda: self.depot.git(result.repo), result.commit, result.since)
        if result.base is None:
            return ahead, None
        return ahead, _count_commits(lambda: Git(Path(project), any_owner_env()), "HEAD", result.base)

    def diff(self, repo: str, old: str, new: str, stat: bool) -> bytes:
        """Return the change between two commits as a patch that git can apply; `stat`: only counts."""
        if stat:
            return "".join(map(format_stat, diff_stat(self.depot, repo, old, new))).encode()
        return diff_patch(self.depot, repo, old, new)

    def shown_change(self, repo: str, old: str, new: str, most: int, hides: Callable[[str], bool]) -> bytes:
        """Return the change between two commits as a patch. `hides`: files that its reader may not read."""
        return shown_change(self.depot, repo, old, new, most, hides)

    def shown_history(
        self, project: str, taken: SnapshotTaken, commits: str, most: int, hides: Callable[[str], bool]
    ) -> bytes:
        """Return commits and their change. Raises GitRefusal for commits outside the history of `taken`."""
        return format_history(
            open_project(Path(project), self.environ, taken.repo), self.depot, taken, commits, most, hides
        )

    def whole_answer(self, identity: AttemptId, printed: bool) -> bytes | None:
        """Return the whole text of a long answer; None if it did not arrive. `printed`: the answer is the
        output, as for a script."""
        path = self.streams.log(identity, PRINTED if printed else ANSWER)
        return path.read_bytes() if path.is_file() else None

    def _must_have_room(self) -> None:
        """Raise UnavailableError if the disk is too full to store a result, so that no run is dispatched."""
        full = self.streams.full()
        if full:
            raise UnavailableError(
                "the coordinator's disk is full", why=full, fix="free disk space there, then: pancode doctor"
            )

    def commit_arrived(self, repo: str, identity: AttemptId, commit: str, snapshot: str | None) -> bool:
        """Whether the lease's ref exists, and its commit is this one, is complete and descends from the given
        snapshot."""
        try:
            return self.depot.verify_result(repo, identity, commit, snapshot)
        except (GitRefusal, GitFailure, ValueError):
            return False

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether this log is completely on disk, which its size and digest show."""
        return self.streams.arrived(identity, name, size, sha256)

    def blob_part(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes of this log; empty if there are none."""
        return self.streams.read(identity, name, offset, limit)


def _count_commits(git: Callable[[], Git], tip: str, since: str) -> int | None:
    """Return the number of commits; None if a commit or the repository is gone (rewritten or pruned)."""
    try:
        most, below = f"--max-count={MOST_COMMITS}", f"^{checked_object(since)}"
        done = git().ask("rev-list", "--count", most, tip, below, "--")
    except (GitFailure, GitRefusal, OSError, ValueError):
        return None
    return int(done.text()) if done.ok else None
