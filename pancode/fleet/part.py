"""What a feature keeps in a coordinator: its threads, its troubles, and what it adds to landings."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.fleet.answers import TroubleShape
from pancode.git.pull_state import PullOpened
from pancode.kernel.records import Run
from pancode.kernel.threads import BackgroundThread


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

    def closed_by_pull(self, run: Run) -> str:
        """Return the issue (in its tracker's notation) that merging the pull request closes; empty: none."""
        return ""

    def note_pull(self, run: Run, pull: PullOpened) -> None:
        """Record that this pull request of the run is open. Idempotent."""

    def describe_landing(self, run: Run) -> str:
        """Return a text on what other services show of a landed run, or an empty text. May take seconds."""
        return ""
