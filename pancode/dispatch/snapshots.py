"""Takes a run's snapshot, or uses another run's result, and shows the progress."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.control.core import Core
from pancode.core.ports import SnapshotRequest, SnapshotTaken
from pancode.dispatch.resolve import Resolution


class UnderWay(TypedDict):
    """A snapshot that is being taken. `of` is 0 until the files are counted."""

    run: str
    project: str
    done: int
    of: int


def take(core: Core, resolution: Resolution, run: str) -> SnapshotTaken | None:
    """The snapshot; None when the run has no project. WorkspaceError."""
    project, progress = resolution.project, core.live.taking
    if project is None:
        return None

    begins = resolution.request.begins
    if begins is not None:
        known = SnapshotTaken(begins.repo, begins.base, begins.commit, begins.object_format)
        core.ports.depot.begin_at(run, known)
        return known

    def report(done: int, of: int) -> None:
        progress[run] = (project, done, of)

    report(0, 0)
    try:
        return core.ports.depot.snapshot(
            SnapshotRequest(project, run, resolution.request.folder, resolution.allowed_files, report)
        )
    finally:
        del progress[run]


def under_way(core: Core) -> list[UnderWay]:
    """The snapshots under way, oldest first."""
    now = list(core.live.taking.items())
    return [UnderWay(run=run, project=at, done=done, of=of) for run, (at, done, of) in now]
