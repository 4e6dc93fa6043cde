"""Decides how a lane continues: which item starts, what stops the lane, and the order of its items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.runs.receipts.trust import WAITING, landing_of
from pancode.workflows.records import Workflow, WorkflowStep, WorkflowStepState

FINISHED = 200
"""How many ended items a lane keeps; the runs of deleted items are kept too."""
_BAD = frozenset({WorkflowStepState.FAILED, WorkflowStepState.REFUSED, WorkflowStepState.STOPPED})


def make_sort_key(step: WorkflowStep) -> tuple[int, int]:
    """Return a step's sort key: a lane item's place; for other steps, their number in the request."""
    place: Any = step.item.get("place", step.number)
    return int(place), step.number


def may_move(step: WorkflowStep) -> bool:
    """Whether the item may change its place, because no part of it has started."""
    return step.state is WorkflowStepState.WAITING and step.run is None


def select_next(workflow: Workflow, steps: Mapping[str, WorkflowStep]) -> tuple[WorkflowStep, ...]:
    """Return the one item that has started or may start now; empty if there is none."""
    begun = [step for step in steps.values() if not step.state.is_over and not may_move(step)]
    if workflow.lane.get("paused") or stops_at(workflow, steps.values()) is not None:
        return ()
    return tuple(begun or [step for step in steps.values() if may_move(step)])[:1]


def stops_at(workflow: Workflow, steps: Iterable[WorkflowStep]) -> WorkflowStep | None:
    """Return the first item that did not succeed, on which a user must decide; None: the lane continues."""
    if workflow.lane.get("goes_on"):
        return None
    return next((step for step in steps if step.state in _BAD), None)


def apply_skip(step: WorkflowStep, now_ms: int) -> WorkflowStep:
    """Return the item, marked as skipped if a user skipped it or if it expired before it started."""
    why = explain_skip(step)
    expires: Any = step.item.get("expires_ms")
    if not why and expires is not None and may_move(step) and now_ms >= int(expires):
        why = "expired before it could start"
    if not why or not (step.state in _BAD or step.state is WorkflowStepState.WAITING):
        return step
    return replace(step, state=WorkflowStepState.SKIPPED, reason=why, finished_ms=now_ms, begins_ms=None)


def explain_skip(step: WorkflowStep) -> str:
    """Return text about who skipped the item; empty if it was not skipped."""
    by = step.item.get("skip")
    return f"skipped by {by}" if by else ""


def is_unsettled(run: Run) -> bool:
    """Whether the next item must wait because the run's result is being landed."""
    landing = landing_of(run) if run.outcome is Outcome.DONE else None
    return landing is not None and landing["status"] == WAITING


def insert_item(steps: Sequence[WorkflowStep], priority: int) -> tuple[int, tuple[WorkflowStep, ...]]:
    """Return a new item's place, after those of the same priority, and the items that move for it."""
    last = max((make_sort_key(step)[0] for step in steps), default=0) + 1
    later = [step for step in steps if may_move(step) and _read_priority(step) < priority]
    if not later:
        return last, ()
    places = [make_sort_key(step)[0] for step in later] + [last]
    return places[0], _assign_places(later, places[1:])


def _read_priority(step: WorkflowStep) -> int:
    priority: Any = step.item.get("priority", 0)
    return int(priority)


def _assign_places(steps: Sequence[WorkflowStep], places: Sequence[int]) -> tuple[WorkflowStep, ...]:
    """Return the items whose place changes, with their new places."""
    pairs = zip(steps, places, strict=True)
    return tuple(
        replace(one, item={**one.item, "place": at}) for one, at in pairs if make_sort_key(one)[0] != at
    )


def select_outlived(steps: Sequence[WorkflowStep]) -> tuple[WorkflowStep, ...]:
    """Return the oldest ended items, beyond the number that a lane keeps."""
    ended = sorted(
        (step for step in steps if step.state.is_over and step.state not in _BAD),
        key=lambda step: step.finished_ms or 0,
    )
    return tuple(ended[:-FINISHED])
