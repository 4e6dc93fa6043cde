"""Decides what an issue's tracker is to know of the work on it: its state, and one comment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.wire.failure import Outcome
from pancode.code.tracker.issues import OVER, IssueState
from pancode.core.records import Run, RunState
from pancode.life.continuing import has_change, is_blocked
from pancode.plain import counted

MARK = "<!-- pancode: the work on this issue -->"
"""The first line of PanCode's comment, by which it is found again."""


@dataclass(frozen=True, slots=True)
class IssueProgress:
    """What the tracker is to show. `state` None: nothing has begun, and nothing is changed."""

    state: IssueState | None
    text: str

    @property
    def comment(self) -> str:
        return f"{MARK}\n{self.text}"


def progress(runs: Sequence[Run], branch: str, pull: str) -> IssueProgress:
    """How far the work is. `runs`: of its workspace, the newest last; `branch`: the workspace's.

    `pull`: the address of its pull request; empty: none was opened.
    """
    if not runs:
        return IssueProgress(None, "")
    last = runs[-1]
    who = f"agent {last.agent} of PanCode" if last.agent else "PanCode"
    if last.state is not RunState.ENDED:
        return IssueProgress(IssueState.PROGRESS, f"Run {last.id}: {who} works on this.")
    if is_blocked(last):
        return IssueProgress(IssueState.PROGRESS, f"Run {last.id}: {who} waits for a person's answer.")
    done = next((run for run in reversed(runs) if run.landed is not None), None)
    if done is last or (done is not None and not has_change(last)):
        at = str(done.landing.get("branch") or "")
        if at == branch:
            where = f"pull request {pull}" if pull else f"branch {at}"
            return IssueProgress(
                IssueState.REVIEW, f"Run {done.id}: the change is on {where}.{_receipt(done)}"
            )
        where = f" on {at}" if at else ""
        return IssueProgress(IssueState.DONE, f"Run {done.id}: the change has landed{where}.{_receipt(done)}")
    if last.outcome is Outcome.DONE and has_change(last):
        files = counted(len(_names(last)), "file")
        return IssueProgress(
            IssueState.REVIEW, f"Run {last.id}: a change of {files} waits for review.{_receipt(last)}"
        )
    if last.outcome is Outcome.DONE:
        return IssueProgress(
            IssueState.PROGRESS, f"Run {last.id} has ended without a change.{_receipt(last)}"
        )
    return IssueProgress(
        IssueState.PROGRESS, f"Run {last.id} did not end well: {last.outcome}.{_receipt(last)}"
    )


def _names(run: Run) -> Sequence[str]:
    found = run.result.get("files_changed")
    return found if isinstance(found, list | tuple) else ()


def _receipt(run: Run) -> str:
    digest = run.result.get("receipt")
    return f" Receipt {digest[:23]}." if isinstance(digest, str) else ""


def moves(now: IssueState, wanted: IssueState) -> bool:
    """Whether its state is to change. What a person has closed is never opened again."""
    return now is not wanted and now not in OVER
