"""Reports progress on issues to their trackers, and changes of an issue to the agent that works on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from node_agent.wire.failure import Outcome
from pancode.issues.model import OVER, Issue, IssueState, Trackers, mark_untrusted, place_of, read_wait_s
from pancode.issues.records import IssueWork
from pancode.issues.service import (
    end_work,
    forget_work,
    held_name,
    known_to_runs,
    open_works,
    record_work,
    runs_of,
    work_in,
)
from pancode.kernel.errors import PancodeError, UsageError, with_fix
from pancode.kernel.formatting import count_noun
from pancode.kernel.records import EventKind, Run, RunState
from pancode.kernel.threads import SOON_S
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.facts import Lineage
from pancode.runs.feed_thread import FeedThread
from pancode.runs.life.conversation import has_change, is_blocked
from pancode.runs.life.waits import ToldByTracker
from pancode.runs.restored.hold import list_held
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Surroundings

MARK = "<!-- pancode: the work on this issue -->"
"""The first line of PanCode's comment on an issue, which identifies the comment."""


@dataclass(frozen=True, slots=True)
class IssueProgress:
    """The progress that the tracker should show. `state` None: no work has begun, so it is not changed."""

    state: IssueState | None
    text: str

    @property
    def comment(self) -> str:
        return f"{MARK}\n{self.text}"


def measure_progress(runs: Sequence[Run], branch: str, pull: str) -> IssueProgress:
    """Return the progress of the work on an issue. `runs`: of its workspace, newest last; `branch`: its
    branch; `pull`: the address of its pull request, empty if none was opened."""
    if not runs:
        return IssueProgress(None, "")
    last = runs[-1]
    who = f"agent {last.agent} of PanCode" if last.agent else "PanCode"
    if last.state is not RunState.ENDED:
        return IssueProgress(IssueState.PROGRESS, f"Run {last.id}: {who} works on this issue.")
    if is_blocked(last):
        return IssueProgress(IssueState.PROGRESS, f"Run {last.id}: {who} waits for a user's answer.")
    done = next((run for run in reversed(runs) if run.landed is not None), None)
    if done is last or (done is not None and not has_change(last)):
        at = str(done.landing.get("branch") or "")
        if at == branch:
            where = f"pull request {pull}" if pull else f"branch {at}"
            return IssueProgress(
                IssueState.REVIEW, f"Run {done.id}: the change is on {where}.{_format_receipt(done)}"
            )
        if not at:  # the change is only in one user's files, and may still be discarded
            words = f"Run {done.id}: the change is in the owner's files, uncommitted.{_format_receipt(done)}"
            return IssueProgress(IssueState.REVIEW, words)
        return IssueProgress(
            IssueState.DONE, f"Run {done.id}: the change has landed on {at}.{_format_receipt(done)}"
        )
    if last.outcome is Outcome.DONE and has_change(last):
        files = count_noun(len(_list_files(last)), "file")
        return IssueProgress(
            IssueState.REVIEW, f"Run {last.id}: a change of {files} waits for review.{_format_receipt(last)}"
        )
    if last.outcome is Outcome.DONE:
        return IssueProgress(
            IssueState.PROGRESS, f"Run {last.id} has ended without a change.{_format_receipt(last)}"
        )
    return IssueProgress(
        IssueState.PROGRESS, f"Run {last.id} did not succeed: {last.outcome}.{_format_receipt(last)}"
    )


def _list_files(run: Run) -> Sequence[str]:
    found = run.result.get("files_changed")
    return found if isinstance(found, list | tuple) else ()


def _format_receipt(run: Run) -> str:
    digest = run.result.get("receipt")
    return f" Receipt {digest[:23]}." if isinstance(digest, str) else ""


def is_change_due(now: IssueState, wanted: IssueState) -> bool:
    """Whether to change the issue's state in its tracker. A closed issue is never reopened."""
    return now is not wanted and now not in OVER


MOST_TOLD = 10_000
"""The most characters of an issue's text in a message to its agent, as messages have a maximum length."""
AGAIN_S, LOOK_S = 30.0, 120.0
"""Seconds until the next check of an issue: after its tracker failed, and while its run is active."""
MERGE_S = 900.0
"""Seconds between two checks of an issue with an open pull request."""
TOLD_LOOKS, TOLD_LOOK_S = 100, 0.1
"""How many times a landing checks whether its tracker was updated, and the seconds between two checks."""
DROPPED = "dropped"
"""The landing status of a change that a user has rejected."""
CHANGED = "The issue {} has changed in its tracker. Its text is now:\n{}"


NEWS = frozenset(
    {
        EventKind.RUN_QUEUED,
        EventKind.RUN_ENDED,
        EventKind.RUN_LANDING,
        EventKind.INBOX_ITEM,
        EventKind.INBOX_ANSWERED,
    }
)
"""The kinds of events after which the progress of an issue may have changed."""


def is_over(work: IssueWork, runs: Sequence[Run]) -> bool:
    """Whether nothing is left to do, because the issue is closed and its change has landed or was dropped."""
    if work.state not in OVER or not runs or runs[-1].state is not RunState.ENDED or is_blocked(runs[-1]):
        return False
    last = runs[-1]
    return last.landed is not None or not has_change(last) or last.landing.get("status") == DROPPED


class TrackerNews(FeedThread):
    """A thread that updates trackers. After a coordinator is killed, the next one makes the missing updates.
    PanCode finds its own comments in the tracker again, so it writes nothing twice."""

    def __init__(self, core: Core, around: Callable[[], Surroundings], trackers: Trackers) -> None:
        super().__init__(core, "trackers", AGAIN_S, NEWS, only_with=(IssueWork, {"ended": False}))
        self._around, self._trackers = around, trackers
        self._rests: dict[str, int] = {}
        self._hurried = False

    def hurry(self) -> None:
        """Check all issues within `SOON_S`; later calls until then share this check."""
        self._hurried = True
        self.wake()

    def after_landing(self, run: Run) -> str:
        """Wait until the tracker shows that the run has landed; return a text about it, empty if no issue."""
        ref = ""
        for _ in range(TOLD_LOOKS):
            with self._core.ports.ledger.transaction() as tx:
                one = work_in(tx, Lineage.of(run).in_workspace)
                branch, runs = (None, list[Run]()) if one is None else runs_of(tx, one)
            if one is None or branch is None:
                return ""
            ref = one.ref
            if one.trouble:
                return f"{ref} is not updated yet, PanCode will retry: {one.trouble}"
            if one.said == measure_progress(runs, branch, one.pull).text:
                shown = "is closed" if one.state in OVER else f"stays open ({one.state})"
                return f"{ref} {shown}, with a comment: {one.url}"
            self._stopping.wait(TOLD_LOOK_S)
        return f"{ref} is not updated yet; see: pancode issue ls"

    def run_pass(self) -> float | None:
        """Send what has changed. Return the seconds until the next check; None: it follows an event."""
        if self._hurried:
            self._hurried = False
            soon = self._core.ports.clock.mono_ms() + int(SOON_S * 1000)
            self._rests = {name: min(rest, soon) for name, rest in self._rests.items()}
        with self._core.ports.ledger.transaction() as tx:
            held = list_held(tx)
            there = [(one, *runs_of(tx, one)) for one in open_works(tx) if held_name(one) not in held]
        waits: list[float] = []
        for one, branch, runs in there:
            if branch is None:
                forget_work(self._core, one.workspace)
            elif (wait := self._sync_issue(one, branch, runs)) is not None:
                waits.append(wait)
        return min(waits, default=None)

    def _sync_issue(self, one: IssueWork, branch: str, runs: list[Run]) -> float | None:
        now = self._core.ports.clock.mono_ms()
        wanted = measure_progress(runs, branch, one.pull)
        works_now = bool(runs) and runs[-1].state is not RunState.ENDED
        moved = one.state not in OVER and str(wanted.state) != one.state
        news = wanted.state is not None and (moved or wanted.text != one.said)
        merges = one.pull and one.state == IssueState.REVIEW
        if not news and not works_now and not merges:
            if is_over(one, runs):
                end_work(self._core, one)
            return None
        rest = self._rests.get(one.workspace, 0)
        if now < rest and (not news or one.trouble):
            return (rest - now) / 1000
        try:
            done = self._update_tracker(one, runs, wanted if news else None)
        except PancodeError as error:
            trouble = with_fix(f"{error.words}: {error.why}"[:500], error.fix[:300])
            done, pause = replace(one, trouble=trouble), max(AGAIN_S, read_wait_s(error))
        else:
            pause = LOOK_S if works_now else MERGE_S
        self._rests[one.workspace] = now + int(pause * 1000)
        if done != one:
            record_work(self._core, done, one)
        if is_over(done, runs) and not done.trouble:
            end_work(self._core, done)
        return pause if works_now or merges or done.trouble else None

    def _update_tracker(self, one: IssueWork, runs: list[Run], news: IssueProgress | None) -> IssueWork:
        project = self._around().projects().get(one.project)
        if project is None:
            return replace(one, trouble=f"project {one.project} no longer exists")
        place = place_of(project)
        issue = self._trackers.issue(place, one.ref)
        if news is not None and news.state is not None:
            if is_change_due(issue.state, news.state):
                self._trackers.move(place, issue, news.state)
            comment = self._trackers.comment(place, issue, news.comment, one.comment)
            state = issue.state if issue.state in OVER else news.state
            one = replace(one, state=str(state), said=news.text, comment=comment)
        elif issue.state in OVER:  # the issue's pull request was merged, or a user has closed the issue
            one = replace(one, state=str(issue.state))
        return replace(self._notify_change(one, issue, runs), trouble="")

    def _notify_change(self, one: IssueWork, issue: Issue, runs: list[Run]) -> IssueWork:
        """Notify the active run once that the issue's text changed; if none, the next run gets the text."""
        done = known_to_runs(one, issue)
        if done == one or issue.state in OVER or not runs:
            return one
        signal = ToldByTracker(CHANGED.format(one.ref, mark_untrusted(issue, MOST_TOLD).strip()))
        with suppress(UsageError), unit_of_work(self._core) as work:
            run = work.tx.get(Run, runs[-1].id)
            if run is not None and run.state is not RunState.ENDED:
                work.signal(run, signal)
                return done
        return one
