"""Decides which feed events users may be waiting for (occasions); schedules and notices use them."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.wire.failure import Outcome
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EventKind, FeedEvent, Run
from pancode.runs.core import Core
from pancode.runs.life.health import HealthState

KINDS = frozenset(
    {
        *(EventKind.RUN_ENDED, EventKind.WORKFLOW_ENDED, EventKind.SCHEDULE_FIRED, EventKind.INBOX_ITEM),
        *(EventKind.RUN_HEALTH, EventKind.FLEET_PAUSED, EventKind.NODE_STATE, EventKind.BUDGET_ALERT),
        EventKind.AUDIT,
    }
)
"""The kinds of events that may be an occasion."""
RUN_DONE, RUN_FAILED, RUN_WAITS = "run.done", "run.failed", "run.asks"
WORKFLOW_DONE, WORKFLOW_FAILED = "workflow.done", "workflow.failed"
NODE_LOST, BUDGET, SCHEDULE_FAILED = "node.lost", "budget.alert", "schedule.failed"
TRUST_BROKEN = "trust.broken"
OCCASIONS = (
    *(RUN_DONE, RUN_FAILED, RUN_WAITS, WORKFLOW_DONE, WORKFLOW_FAILED),
    *(NODE_LOST, BUDGET, SCHEDULE_FAILED, TRUST_BROKEN),
)
_AWAY = ("unreachable", "lost")
_NEITHER = ("stopped", "interrupted", "superseded", "blocked")
"""Outcomes that are neither success nor failure: the run was stopped, or asks a question."""


def occasion_of(event: FeedEvent) -> str | None:
    """Return which occasion, such as a failed run, the event is; None: users do not wait for it."""
    data = event.data
    match event.kind:
        case EventKind.RUN_ENDED:
            # A run that evaluates another run is not independent work, so its end must not trigger anything.
            return None if data.get("judges") else _of_end(str(data.get("outcome")), Outcome.DONE)
        case EventKind.INBOX_ITEM | EventKind.FLEET_PAUSED:
            return RUN_WAITS
        case EventKind.RUN_HEALTH:
            return RUN_WAITS if data.get("kind") == HealthState.STUCK else None
        case EventKind.WORKFLOW_ENDED:
            found = _of_end(str(data.get("state")), "done")
            return found and found.replace("run.", "workflow.")
        case EventKind.NODE_STATE:
            return NODE_LOST if data.get("state") in _AWAY and data.get("was") not in _AWAY else None
        case EventKind.BUDGET_ALERT:
            return BUDGET
        case EventKind.SCHEDULE_FIRED:
            return SCHEDULE_FAILED if data.get("state") in ("refused", "failed") else None
        case EventKind.AUDIT:
            return TRUST_BROKEN if (data.get("domain"), data.get("level")) == ("trust", "error") else None
    return None


def _of_end(word: str, done: str) -> str | None:
    if word in _NEITHER:
        return None
    return RUN_DONE if word == done else RUN_FAILED


def facts_of(core: Core, tx: Transaction, event: FeedEvent) -> dict[str, str]:
    """Return what is known of an event's `agent`, `node`, `repo` and `outcome`, and what features know."""
    run = None if event.run is None else tx.get(Run, event.run)
    found: dict[str, object] = {
        "node": event.node or (None if run is None else run.result.get("node")),
        "outcome": event.data.get("outcome") or event.data.get("state"),
    }
    if run is not None:
        found |= {"agent": run.agent, "repo": run.project}
    for find in core.extensions.facts:
        found |= find(tx, event, run)
    return {key: str(value) for key, value in found.items() if value}


def is_matching(where: Mapping[str, str], facts: Mapping[str, str]) -> bool:
    """Whether the facts match `where`. A repository is given by its path, or by its folder's name."""
    known = {**facts}
    if "/" not in where.get("repo", "/"):
        known["repo"] = facts.get("repo", "").rpartition("/")[2]
    return all(known.get(key, "") == wanted for key, wanted in where.items())
