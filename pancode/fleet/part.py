"""What a feature keeps in a coordinator: its threads, its troubles, and what it adds to landings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pancode.fleet.answers import TroubleShape
from pancode.git.pull_state import PullOpened
from pancode.kernel.errors import UsageError
from pancode.kernel.records import Run
from pancode.kernel.threads import BackgroundThread
from pancode.runs.request import LandWay


class CoordinatorPart:
    """A feature's state in a coordinator; the feature's routes look it up by its class. What it does not
    override has no effect."""

    threads: Sequence[BackgroundThread] = ()
    """The threads of the feature, which the coordinator starts and stops."""

    @property
    def troubles(self) -> Sequence[TroubleShape]:
        """Return what does not work now, for `fleet status`."""
        return ()

    def hurry(self) -> None:
        """Query the service that the feature watches soon, as a webhook requests."""

    def land(self, run: Run, way: LandWay, wait: bool = True) -> Mapping[str, object] | None:
        """Land the run's change, and return the report; with `wait` False, only its place in the queue. None:
        the feature lands nothing. Raises WorkspaceError."""
        return None

    def call_off(self, run: Run) -> Sequence[Mapping[str, object]]:
        """Call off this run's landings; return how each of them ended."""
        return ()

    def look_for_reverts(self) -> Mapping[str, str]:
        """Find and record commits that reverted landed changes; return these commits by run."""
        return {}

    def closed_by_pull(self, run: Run) -> str:
        """Return the issue (in its tracker's notation) that merging the pull request closes; empty: none."""
        return ""

    def note_pull(self, run: Run, pull: PullOpened) -> None:
        """Record that this pull request of the run is open. Idempotent."""

    def describe_landing(self, run: Run) -> str:
        """Return a text on what other services show of a landed run, or an empty text. May take seconds."""
        return ""


def land_change(
    parts: Iterable[CoordinatorPart], run: Run, way: LandWay, wait: bool = True
) -> Mapping[str, object]:
    """Have the feature that lands changes land the run's. UsageError if there is no such feature."""
    for part in parts:
        if (report := part.land(run, way, wait)) is not None:
            return report
    raise UsageError(f"the change of {run.id} cannot be landed: landings are not available")
