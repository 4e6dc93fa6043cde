"""Reads the subject of an event of the feed: schedules and notices choose by it."""

from __future__ import annotations

from collections.abc import Mapping

from pancode.kernel.ports import Transaction
from pancode.kernel.records import FeedEvent, Run, Workflow


def facts_of(tx: Transaction, event: FeedEvent) -> dict[str, str]:
    """Return the facts of an event: `agent`, `node`, `repo`, `outcome` and `workflow`, as far as known."""
    run = None if event.run is None else tx.get(Run, event.run)
    workflow = event.data.get("workflow") or (None if run is None else run.workflow)
    row = tx.get(Workflow, str(workflow)) if workflow else None
    found: dict[str, object] = {
        "node": event.node or (None if run is None else run.result.get("node")),
        "outcome": event.data.get("outcome") or event.data.get("state"),
        "workflow": None if row is None else row.name,
    }
    if run is not None:
        found |= {"agent": run.agent, "repo": run.project}
    return {key: str(value) for key, value in found.items() if value}


def is_matching(where: Mapping[str, str], facts: Mapping[str, str]) -> bool:
    """Whether the facts are the wanted ones. A repository is named by its path, or by its folder's name."""
    return all(_same(key, value, facts.get(key, "")) for key, value in where.items())


def _same(key: str, wanted: str, is_: str) -> bool:
    return wanted == is_ or (key == "repo" and "/" not in wanted and is_.rpartition("/")[2] == wanted)
