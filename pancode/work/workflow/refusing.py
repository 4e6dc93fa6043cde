"""Writes down why a step that was to begin does not: it waits for a breaker, or has come to its end."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.ports import MergeConflictError
from pancode.core.records import WorkflowStep, WorkflowStepState
from pancode.core.values import replace
from pancode.dispatch.admission import UNTIL_MS
from pancode.dispatch.admission.safety import BREAKER_OPEN
from pancode.errors import PancodeError, with_fix
from pancode.work.workflow import rows
from pancode.workflow.advance import LONGEST_HOLD_MS
from pancode.workflow.lane import AGAIN_MS
from pancode.workflow.rounds import CONFLICT

PASSES = frozenset({BREAKER_OPEN, "budget", "refused_budget", "refused_drain", "workspace_taken"})
"""Codes of refusals that go away by themselves, so that an item of a lane waits."""
SHORTEST_HOLD_MS = 1_000
"""The least wait of a step that a breaker holds up, before it is judged again."""


def not_begun(core: Core, step: WorkflowStep, error: PancodeError) -> None:
    """The step as it is then. Nothing where it does not wait for its run any more."""
    with unit_of_work(core) as work:
        now = work.tx.get(WorkflowStep, step.workflow, step.number)
        if now is None or not rows.is_starting(now, str(step.run)):
            return
        waits = error.code == BREAKER_OPEN or (bool(now.item) and error.code in PASSES)
        after = _held if waits else _refused
        rows.put_steps(work, replace(after(now, error, core.wall_ms()), run=None, runs=now.runs[:-1]))


def _held(step: WorkflowStep, error: PancodeError, now_ms: int) -> WorkflowStep:
    """A breaker is open: it waits for that, as a queued run does, and is judged again then.

    An item of a lane also waits for room in a budget, and for whoever works in its workspace.
    """
    shortest = SHORTEST_HOLD_MS if error.code == BREAKER_OPEN else AGAIN_MS
    until = max(int(error.details.get(UNTIL_MS) or 0), now_ms + shortest)
    begins_ms = min(until, now_ms + LONGEST_HOLD_MS)
    return replace(
        step,
        state=WorkflowStepState.WAITING,
        reason=f"waits: {with_fix(error.words, error.fix)}",
        begins_ms=begins_ms,
    )


def _refused(step: WorkflowStep, error: PancodeError, now_ms: int) -> WorkflowStep:
    """It did not pass admission, or has no workspace: definite, with all that the error says."""
    if isinstance(error, MergeConflictError) and not step.request.get("resolves"):
        error.fix = f"let an agent settle it: pancode workflow resume {step.workflow} --resolve"
    over = replace(
        step, state=WorkflowStepState.REFUSED, reason=with_fix(error.words, error.fix), finished_ms=now_ms
    )
    if not isinstance(error, MergeConflictError):
        return over
    files = error.details.get("files", "").splitlines()
    return replace(over, state=WorkflowStepState.FAILED, outputs={**step.outputs, CONFLICT: files})
