"""Decides which ended runs need a user though not in the inbox, with the text and command to show."""

from __future__ import annotations

from node_agent.wire.failure import Outcome
from pancode.kernel.formatting import format_title
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.runs.answers import BriefLine
from pancode.runs.core import Core
from pancode.runs.receipts.trust import is_disputed
from pancode.runs.unit_of_work import is_at_fault, is_left
from pancode.runs.whole_changes import find_larger, is_the_result

_TASK, _REASON = 70, 160
_FINDS: dict[Outcome, tuple[str, str]] = {
    Outcome.LOST: ("is lost because its node no longer reports", "pancode runs retry {run}"),
    Outcome.INFRA: ("failed, but not because of the agent", "pancode runs retry {run}"),
    Outcome.VERIFY_FAILED: ("did not pass its gates", "pancode runs show {run}"),
}


def review_of(core: Core, tx: Transaction, run: Run) -> BriefLine | None:
    """Return why a user should decide on the run; None if no decision is needed. Of a workflow or a race,
    only the result or the winner counts; if the workflow failed, its newest change."""
    if not is_left(run) or not (is_at_fault(run) or is_the_result(core, tx, run, anyway=True)):
        return None
    if is_disputed(run):
        return line_of(run, "passed its gates on its node, but not on another", "pancode runs show {run}")
    if run.outcome in _FINDS:
        return {**line_of(run, *_FINDS[run.outcome]), "outcome": str(run.outcome)}
    work = find_larger(core, tx, run.workflow)
    if work is not None and work.has_failed:
        words = f"has the change of {work.id}, which failed: {work.reason[:_REASON]}"
        return line_of(run, words, f"pancode workflow show {work.id}")
    line = line_of(run, "has a change that is not landed", "pancode land {run}")
    return {**line, "outcome": "review", "kind": "review"}


def line_of(run: Run, words: str, command: str) -> BriefLine:
    return {"run": run.id, "what": words, "task": task_of(run), "command": command.format(run=run.id)}


def task_of(run: Run) -> str:
    """Return the first line of the run's task, which lists show as the run's title."""
    return format_title(run.task or " ".join(run.argv or ()))[:_TASK]
