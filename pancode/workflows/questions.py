"""Steps whose agent asked a user: when they wait, which run takes over, when the question is obsolete."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from node_agent.wire.failure import Outcome
from pancode.kernel import records
from pancode.kernel.errors import RefusedError
from pancode.kernel.values import replace
from pancode.runs.facts import Lineage, Messages
from pancode.runs.life.conversation import NEXT, is_blocked, list_next_runs
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState

ANSWERED = "answered"
"""The key in an asking run's result for an answer whose run failed, so that the question is open again."""
MOST_OF_AN_ANSWER = 200
_WAITS = 'waits for a user: {reason} ({before}pancode answer {run} "...")'
_STANDS = (WorkflowStepState.FAILED, WorkflowStepState.STOPPED)


def mark_waiting(step: WorkflowStep, run: records.Run) -> WorkflowStep:
    """Return the step as waiting for a user: it uses no slot, and steps that need it wait too."""
    answer = str(run.result.get(ANSWERED) or "")
    answer = answer if len(answer) <= MOST_OF_AN_ANSWER else f"{answer[:MOST_OF_AN_ANSWER]} ..."
    before = f"the answer before was: {answer}; " if answer else ""
    reason = _WAITS.format(reason=run.reason, before=before, run=run.id)
    return replace(step, state=WorkflowStepState.WAITING, reason=reason, finished_ms=None, lost=None)


def is_asking(step: WorkflowStep, questions: Collection[str]) -> bool:
    """Whether the step waits for a user. `questions`: the runs with an open question."""
    return step.state is WorkflowStepState.WAITING and step.run in questions


def is_next_run(workflow: Workflow, step: WorkflowStep, old: records.Run) -> bool:
    """Whether a run that continues from `old` becomes the step's next run.

    It does even if the step still counts as running because its run has only just asked. RefusedError while
    the workflow is being stopped. An item that stopped its lane also continues when a user continues its run;
    but not in a workspace, because other work continues from that run too.
    """
    if workflow.kind is WorkflowKind.LANE and step.state in _STANDS:
        mine = step.run == old.id and not list_next_runs(old) and not Lineage.of(old).in_workspace
        return mine and workflow.state is WorkflowState.RUNNING
    is_open = step.state in (WorkflowStepState.WAITING, WorkflowStepState.RUNNING)
    waits = is_open and step.run == old.id and is_blocked(old)
    if waits and workflow.state is WorkflowState.STOPPING:
        raise RefusedError(
            f"{old.id} cannot continue: its workflow {workflow.id} is stopping",
            why=workflow.stop_asked or "",
            fix=f"pancode workflow resume {workflow.id}, then answer again",
            code="workflow_stopping",
        )
    return waits and workflow.state is WorkflowState.RUNNING


def with_next_run(step: WorkflowStep, run: str) -> WorkflowStep:
    """Return the step with its next run, which waits until the workflow has a slot for it."""
    waits = replace(step, state=WorkflowStepState.WAITING, reason="", lost=None, finished_ms=None)
    return replace(waits, run=run, runs=(*step.runs, run))


def find_obsolete(
    before: Iterable[WorkflowStep], after: Mapping[str, WorkflowStep], questions: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """Return the runs whose question is obsolete because their step has ended, each with the reason."""
    over = (after[step.name] for step in before if step.run in questions and after[step.name].state.is_over)
    return tuple((str(step.run), step.reason) for step in over)


def asks_again(step: WorkflowStep, run: records.Run | None, is_open: bool) -> bool:
    """Whether a resumed step waits for the answer again: the question was neither answered nor denied."""
    if run is None or not is_blocked(run) or list_next_runs(run):
        return False
    return is_open or step.state is not WorkflowStepState.FAILED


def reopen_question(step: WorkflowStep, run: records.Run, old: records.Run | None) -> records.Run | None:
    """Return `old` with its question open again if `run`, which continued with the answer, failed. None if
    `run` is done or asks itself, or `old` is not a question of this step that only `run` continues."""
    if run.state is not records.RunState.ENDED or run.outcome in (Outcome.DONE, Outcome.BLOCKED):
        return None
    if old is None or not is_blocked(old) or list_next_runs(old) != (run.id,):
        return None
    if (old.workflow, old.step) != (step.workflow, step.name):
        return None
    result: dict[str, object] = {key: value for key, value in old.result.items() if key != NEXT}
    if answer := Messages.of(run).answers:
        result[ANSWERED] = answer
    return replace(old, result=result)


def waits_for_users_only(steps: Iterable[WorkflowStep], questions: Collection[str]) -> bool:
    """Whether no step continues until a user has answered."""
    every = {step.name: step for step in steps}
    left = [step for step in every.values() if not step.state.is_over]
    asking = [step for step in left if is_asking(step, questions)]
    if asking and asking[0].item:  # Only one item of a lane runs at a time, so all others wait for it.
        return True
    return bool(asking) and all(is_asking(step, questions) or _needs_more(step, every) for step in left)


def _needs_more(step: WorkflowStep, every: Mapping[str, WorkflowStep]) -> bool:
    return step.state is WorkflowStepState.WAITING and any(
        every[need].state is not WorkflowStepState.DONE for need in step.needs
    )
