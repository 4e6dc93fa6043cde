"""Names what an event of the feed means to somebody who waits for it: schedules, notices, webhooks."""

from __future__ import annotations

from node_agent.wire.failure import Outcome
from pancode.core.records import EventKind, FeedEvent, WorkflowState

RUN_DONE, RUN_FAILED, RUN_WAITS = "run.done", "run.failed", "run.asks"
WORKFLOW_DONE, WORKFLOW_FAILED = "workflow.done", "workflow.failed"
NODE_LOST, BUDGET, SCHEDULE_FAILED = "node.lost", "budget.alert", "schedule.failed"
OCCASIONS = (
    *(RUN_DONE, RUN_FAILED, RUN_WAITS, WORKFLOW_DONE, WORKFLOW_FAILED),
    *(NODE_LOST, BUDGET, SCHEDULE_FAILED),
)
_AWAY = ("unreachable", "lost")
_NEITHER = ("stopped", "interrupted", "superseded", "blocked")
"""Outcomes that are neither success nor failure: a person stopped the run, or it asks a question."""


def occasion_of(event: FeedEvent) -> str | None:
    """The occasion of this event; None: nobody waits for such an event."""
    data = event.data
    match event.kind:
        case EventKind.RUN_ENDED:
            # A run that judges another one is no work of its own: whoever acts on it would be called again.
            return None if data.get("judges") else _of_end(str(data.get("outcome")), Outcome.DONE)
        case EventKind.INBOX_ITEM:
            return RUN_WAITS
        case EventKind.WORKFLOW_ENDED:
            found = _of_end(str(data.get("state")), WorkflowState.DONE)
            return found and found.replace("run.", "workflow.")
        case EventKind.NODE_STATE:
            return NODE_LOST if data.get("state") in _AWAY and data.get("was") not in _AWAY else None
        case EventKind.BUDGET_ALERT:
            return BUDGET
        case EventKind.SCHEDULE_FIRED:
            return SCHEDULE_FAILED if data.get("state") in ("refused", "failed") else None
    return None


def _of_end(word: str, done: str) -> str | None:
    if word in _NEITHER:
        return None
    return RUN_DONE if word == done else RUN_FAILED
