"""The port `Depot`: snapshots and arrived results, in the types of the control plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId
from pancode.git.depot import Depot
from pancode.git.file_list import ListingLimits
from pancode.git.log_store import LogStreams
from pancode.git.repository import open_project
from pancode.git.runner import GitFailure, GitRefusal
from pancode.git.snapshot import SnapshotOptions, take_snapshot, tree_now
from pancode.kernel.ports import Composed, Composition, ResultPlace, SnapshotRequest, SnapshotTaken
from pancode.landing.git.base_tree import (
    ahead_and_behind,
    compose_commit,
    file_names,
    lines_changed,
    read_file,
)
from pancode.landing.git.diff import format_history, shown_change
from pancode.landing.git.merge import publish_snapshot

PRINTED, ANSWER = "out", "answer"
"""The stream that contains the answer: of a script, and of an agent."""


@dataclass(frozen=True, slots=True)
class GitDepot:
    """Snapshots into one depot, and results in it. `environ`: whose git settings apply (None: ours)."""

    depot: Depot
    streams: LogStreams
    clock: Clock
    limits: ListingLimits = ListingLimits()
    environ: Mapping[str, str] | None = None

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        """Take a snapshot of the tree around the project. Raises GitRefusal (a WorkspaceError) with paths and
        fix. Also refused while the disk is so full that no result could be stored."""
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

    def tree_now(self, project: str, allowed: tuple[str, ...]) -> str:
        """Return the tree of the files as they are now. Raises GitRefusal with paths and fix."""
        self._must_have_room()
        options = SnapshotOptions(self.clock.wall_ms(), replace(self.limits, allowed=allowed), self.environ)
        return tree_now(Path(project), self.depot, options)

    def begin_at(self, run: str, snapshot: SnapshotTaken) -> None:
        """Set the commit as the run's snapshot. Raises GitRefusal if the depot no longer has it."""
        self._must_have_room()
        publish_snapshot(self.depot, snapshot.repo, run, snapshot.snapshot, snapshot.base)

    def compose(self, wanted: Composition) -> Composed:
        """Make the commit at which a step begins. Raises MergeConflictError, GitRefusal. Idempotent."""
        return compose_commit(self.depot, wanted)

    def read_file(self, repo: str, commit: str, path: str, most: int) -> bytes | None:
        """Return a file of a result; None if it does not exist or is larger than `most` bytes."""
        return read_file(self.depot, repo, commit, path, most)

    def has_commit(self, repo: str, commit: str) -> bool:
        """Whether the depot has the commit; False also if it does not have the repository."""
        return self.depot.has_commit(repo, commit)

    def file_names(self, repo: str, commit: str) -> list[str]:
        """Return the names of all files of a result."""
        return file_names(self.depot, repo, commit)

    def lines_changed(self, repo: str, old: str, new: str) -> int:
        """Return the number of added and removed lines."""
        return lines_changed(self.depot, repo, old, new)

    def ahead_and_behind(self, project: str, result: ResultPlace) -> tuple[int | None, int | None]:
        """Count the commits of a line of work, and the project's commits since it began; None: unknown."""
        return ahead_and_behind(Path(project), self.depot, result)

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
        """Return the whole text of a long answer; None: it did not arrive. `printed`: a script's, its
        output."""
        path = self.streams.log(identity, PRINTED if printed else ANSWER)
        return path.read_bytes() if path.is_file() else None

    def _must_have_room(self) -> None:
        """Raise UnavailableError while a result could not be stored, so that no run is dispatched."""
        full = self.streams.full()
        if full:
            raise GitRefusal(
                "the coordinator's disk is full", why=full, fix="free disk space there, then: pancode doctor"
            )

    def commit_arrived(self, repo: str, identity: AttemptId, commit: str, snapshot: str | None) -> bool:
        """Whether the lease's ref exists, is this commit, is complete and descends from the attempt's
        snapshot."""
        try:
            return self.depot.verify_result(repo, identity, commit, snapshot).ok
        except (GitRefusal, GitFailure, ValueError):
            return False

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether this log is on disk and complete by its size and digest."""
        return self.streams.arrived(identity, name, size, sha256)

    def blob_part(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes of this log; empty if there are none."""
        return self.streams.read(identity, name, offset, limit)
