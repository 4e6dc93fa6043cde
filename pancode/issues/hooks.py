"""The coordinator's part for issues: the trackers, and the threads that check and update the trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from pancode.fleet.part import CoordinatorPart
from pancode.git.forge_rules import ForgeAccess
from pancode.git.pull_state import PullOpened
from pancode.issues.auto_start import HELD_NAME, IssueWatch
from pancode.issues.forge_trackers import HttpTrackers
from pancode.issues.kept_plans import list_kept_texts
from pancode.issues.model import Trackers
from pancode.issues.records import IssueWork, KeptPlan
from pancode.issues.service import closed_issue, drop_work, held_name, note_pull
from pancode.issues.tracker_sync import TrackerNews
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.runs.core import Core
from pancode.runs.facts import Lineage
from pancode.runs.features import Features, HeldThing
from pancode.runs.user_environment import Around


class IssueTracking(CoordinatorPart):
    """The trackers of all projects, for the API routes of issues and for updates after a landing."""

    def __init__(self, core: Core, around: Around, trackers: Trackers) -> None:
        self.trackers, self._core = trackers, core
        self._watch = IssueWatch(core, partial(around, {}), trackers)
        self._news = TrackerNews(core, partial(around, {}), trackers)
        self.threads = (self._watch, self._news)

    def hurry(self) -> None:
        """Make the next check of all projects' issues happen very soon."""
        self._watch.hurry()
        self._news.hurry()

    def closed_by_pull(self, run: Run) -> str:
        return closed_issue(self._core, run)

    def note_pull(self, run: Run, pull: PullOpened) -> None:
        note_pull(self._core, run, pull.url)

    def describe_landing(self, run: Run) -> str:
        return self._news.after_landing(run) if Lineage.of(run).in_workspace else ""


def find_held(core: Core, tx: Transaction) -> Iterator[HeldThing]:
    """Yield the work on issues, and once there was any, the start of work on new issues."""
    works = tx.find(IssueWork)
    for one in works:
        if not one.ended:
            what = f"{one.ref}: {one.title}"
            yield HeldThing(held_name(one), "issue", what, one.began_ms, partial(drop_work, core, one))
    if works:
        what = "begin work on labelled issues by itself"
        yield HeldThing(HELD_NAME, "issues", what, works[0].began_ms, lambda by: None)


FEATURE = Features(held=(find_held,), approved=(list_kept_texts,), tables=(IssueWork, KeptPlan))


def track_issues(
    core: Core,
    around: Around,
    read: Callable[[], Mapping[str, ForgeAccess]],
    secret: Callable[[str], str],
    environ: Mapping[str, str],
) -> IssueTracking:
    """Return the coordinator's part for issues; the arguments are those of `HttpTrackers`."""
    return IssueTracking(core, around, HttpTrackers(read, secret, environ, core.ports.clock))
