"""The port of landings: repositories of users and the depot that holds the results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pancode.life.land_values import (
    CalledOff,
    Conflict,
    ConflictState,
    Gates,
    LandReport,
    LandRequest,
    OnBranch,
)


class Repositories(Protocol):
    """WorkspaceError for all that cannot be done; then the user's files and branches are as they were."""

    def into_files(self, project: str, request: LandRequest, gates: Gates, off: CalledOff) -> LandReport:
        """Merge the result into the files around `project`, as edits that are not committed.

        Idempotent: what is there already is `nothing to land`. Called off until the first write.
        """

    def onto_branch(
        self, project: str, request: LandRequest, target: OnBranch, gates: Gates, off: CalledOff
    ) -> LandReport:
        """Commit the result on a branch; files, index and other branches stay. Idempotent as `into_files`."""

    def conflict(self, project: str, request: LandRequest, branch: str) -> ConflictState:
        """The state of both sides of a conflict, in the depot only. Without files: there is no conflict."""

    def unsettled(self, repo: str, marked: str, result: str, files: Iterable[str]) -> tuple[Conflict, ...]:
        """Of `files`, which conflict in the commit `marked`: those that `result` has not settled."""

    def commit_of(self, repo: str, tree: str, base: str | None) -> str:
        """A commit of a tree of the depot; always the same one."""

    def offer(self, repo: str, run: str, commit: str, base: str | None) -> None:
        """Make a commit of the depot the snapshot of a run, so that a node may have it. Idempotent."""
