"""Makes the run with the answer to a step's question, or the step's retry, its new run if possible."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.wire.failure import Outcome
from pancode.kernel.errors import UsageError
from pancode.kernel.facets import Lineage
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, WaitReason, Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.features import Joining
from pancode.runs.life.approvals import AskedAgain
from pancode.runs.life.conversation import is_blocked
from pancode.runs.life.ends import GivenUp
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import Work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import words_of
from pancode.workflows import questions, step_store
from pancode.workflows.model import find_ancestors
from pancode.workflows.questions import with_next_run
from pancode.workflows.rounds import once_more
from pancode.workflows.rules import BAD, OPEN, is_in_order, mark_running

_RESUME = "pancode workflow resume {workflow}"


def _must_fit(workflow: Workflow, steps: Mapping[str, WorkflowStep], old: Run, run: Run | None) -> None:
    """Raise UsageError if this run's retry cannot become the step's run, with the command to use instead."""
    step = steps[str(old.step)]
    what, fix = _find_objection(workflow, steps, step, old, run)
    if what:
        raise UsageError(
            f"{old.id} cannot be retried as step {step.name} of {workflow.id}: {what}",
            fix=(
                f"{fix.format(workflow=workflow.id)}; outside the workflow: pancode runs retry "
                f"--alone {old.id}"
            ),
            code="not_in_its_place",
        )


def _find_objection(
    workflow: Workflow, steps: Mapping[str, WorkflowStep], step: WorkflowStep, old: Run, run: Run | None
) -> tuple[str, str]:
    """Return why the retry is impossible and the command to use instead; both are empty if it is possible."""
    if workflow.kind is WorkflowKind.LANE:
        # A lane never ends, so the item that stopped it starts again.
        if workflow.state not in OPEN:
            return f"lane {workflow.name} was removed", "pancode lane ls"
        if step.run == old.id and step.state in (WorkflowStepState.FAILED, WorkflowStepState.STOPPED):
            return "", ""
        if step.state is WorkflowStepState.SKIPPED:
            return "the item was skipped", f'add it again: pancode lane add {workflow.name} "..."'
        return _object_if_open(step, old)[0], f"pancode lane show {workflow.name}"
    if workflow.state in OPEN:
        return _object_if_open(step, old)
    if workflow.winner is not None or step.state is WorkflowStepState.DONE:
        done = f"{workflow.winner} won the race" if workflow.winner else "the step is done"
        return done, "repeat the whole workflow: pancode runs retry {workflow}"
    return _object_if_ended(workflow, steps, step, old, run)


def _object_if_ended(
    workflow: Workflow, steps: Mapping[str, WorkflowStep], step: WorkflowStep, old: Run, run: Run | None
) -> tuple[str, str]:
    """Return the same as `_find_objection`, for a step of an ended workflow that did not succeed."""
    if step.run != old.id:
        newest = f"pancode runs retry {step.run}" if step.run is not None else _RESUME
        return f"{step.run or 'another round'} came after this run", newest
    if step.lost == old.id and old.outcome is Outcome.DONE:
        return "the run was lost, but has succeeded after all", _RESUME
    if run is not None:
        return f"{run.id} asked a question, and asks again", _RESUME
    if Lineage.of(old).continues is not None:
        return "the run continued from a question", _RESUME
    others = [one.name for one in steps.values() if one.state in BAD and one.name != step.name]
    if others and (workflow.fail_fast or is_in_order(workflow)):
        return f"{', '.join(others)} did not succeed either", _RESUME
    waits = _left_out(steps, step) if is_in_order(workflow) else []
    return (f"{', '.join(waits)} would not continue", _RESUME) if waits else ("", "")


def _left_out(steps: Mapping[str, WorkflowStep], step: WorkflowStep) -> list[str]:
    """Return the steps without a result that a retry of this step does not start again."""
    every = tuple(steps.values())
    others = [
        one for one in every if one.name != step.name and step.name not in find_ancestors(one.name, every)
    ]
    return [one.name for one in others if one.state is not WorkflowStepState.DONE]


def _object_if_open(step: WorkflowStep, old: Run) -> tuple[str, str]:
    if is_blocked(old) and step.run == old.id and step.state is WorkflowStepState.WAITING:
        return "it asked a user", f'pancode answer {old.id} "..."'
    if step.run is not None and step.run != old.id and old.id in step.runs:
        return f"{step.run} already took its place", f"pancode runs show {step.run}"
    later = f"pancode workflow show -f {{workflow}}, and then: pancode runs retry {old.id}"
    return "the workflow has not ended", later


def retake_step(core: Core, around: Surroundings, request: DispatchRequest, later: bool) -> DispatchRequest:
    """Return the request for a retry that becomes its step's run. UsageError if it cannot. This is checked
    before making a snapshot, and again when the retry is queued."""
    with core.ports.ledger.transaction() as tx:
        old = tx.get(Run, str(request.retry_of))
        assert old is not None  # Runs are never deleted.
        step = must_take(tx, old)
        workflow = tx.get(Workflow, step.workflow)
    is_lane = workflow is not None and workflow.kind is WorkflowKind.LANE
    return replace(request, lane=step.workflow if is_lane else "")


def take_step(work: Work, joining: Joining) -> Run:
    """Return the run, attached to the step of the run that it continues or replaces if it becomes that step's
    run. RefusedError, UsageError."""
    run, tx = joining.run, work.tx
    step = place_of(tx, joining.continued) if joining.continued is not None else None
    if joining.replaced is not None and Lineage.of(run).in_step:
        step = must_take(tx, joining.replaced)
    if step is None:
        return run
    replace_run(work, step, run)
    return attach_run(run, step, joining.continued or joining.replaced)


def place_of(tx: Transaction, old: Run) -> WorkflowStep | None:
    """Return the step waiting for a user due to `old`, or None. RefusedError if its workflow is stopping."""
    workflow = tx.get(Workflow, old.workflow) if old.workflow is not None else None
    if workflow is None:
        return None
    mine = (step for step in step_store.steps_of(tx, workflow.id) if step.name == old.step)
    return next((step for step in mine if questions.is_next_run(workflow, step, old)), None)


def must_take(tx: Transaction, old: Run) -> WorkflowStep:
    """Return the step whose run the retry of `old` becomes. UsageError if the retry cannot become its run."""
    workflow = tx.get(Workflow, str(old.workflow))
    assert workflow is not None  # Workflows are never deleted.
    steps = {step.name: step for step in step_store.steps_of(tx, workflow.id)}
    step = steps.get(str(old.step))
    if step is None:
        raise UsageError(
            f"{old.id} cannot be retried as a step of {workflow.id}: it no longer has the step {old.step}",
            fix=f"pancode runs retry --alone {old.id}",
            code="not_in_its_place",
        )
    _must_fit(workflow, steps, old, asks_again(tx, step))
    return step


def attach_run(run: Run, step: WorkflowStep, before: Run | None) -> Run:
    """Return the run attached to the step's workflow, replacing `before`; held back until a slot is free."""
    run = replace(
        run, workflow=step.workflow, step=step.name, waits=WaitReason.WORKFLOW, reason=step_store.HELD
    )
    if before is None:
        return run
    # In a chain, the settings decide on landing the result at the end of the workflow.
    run = replace(run, land=run.land and before.land)
    lineage, earlier = Lineage.of(run), Lineage.of(before)
    # A retry starts from the same files as the old run, or from the beginning.
    continues = not lineage.in_step
    origin = earlier.origin or (before.workspace.get("snapshot") if continues else None)
    if origin is None:
        return run
    takes = lineage.takes if continues else earlier.takes or lineage.takes
    return replace(lineage, origin=str(origin), takes=takes).on(run)


def replace_run(work: Work, step: WorkflowStep, run: Run) -> None:
    """Make this run the step's run and advance the workflow; a retry reopens a workflow that has ended."""
    workflow = work.tx.get(Workflow, step.workflow)
    assert workflow is not None  # Workflows are never deleted.
    if Lineage.of(run).in_step:
        steps = {one.name: one for one in step_store.steps_of(work.tx, workflow.id)}
        # Steps that need this one start after it; others that did not succeed do not change.
        every = tuple(steps.values())
        after = [one for one in every if step.name in find_ancestors(one.name, every)]
        later = [once_more(one) for one in after if one.state is not WorkflowStepState.DONE]
        step_store.put_steps(work, *(with_next_run(once_more(steps[step.name]), run.id), *later))
        workflow = reopen_workflow(work, workflow, run.created_by)
    else:
        step_store.put_steps(work, questions.with_next_run(step, run.id))
    step_store.ask_to_advance(work, workflow)


def reopen_workflow(work: Work, workflow: Workflow, by: str) -> Workflow:
    """Reopen an ended workflow."""
    again = mark_running(workflow)
    work.tx.put(again)
    work.audit("fleet", "info", "workflow resumed", workflow=again.id, by=by)
    return again


def asks_again(tx: Transaction, step: WorkflowStep) -> Run | None:
    """Return the run that asks the user again when the step is resumed, with its new values, or None. It is
    the step's own run, or the previous one if the run with the answer failed."""
    run = tx.get(Run, step.run) if step.run is not None else None
    if run is None:
        return None
    if questions.asks_again(step, run, step_store.has_open_question(tx, run)):
        return run
    before = Lineage.of(run).continues
    return questions.reopen_question(step, run, tx.get(Run, before) if before is not None else None)


def ask_again(work: Work, step: WorkflowStep) -> WorkflowStep:
    """Return the step as waiting, with its question in the inbox again; a run lost meanwhile is given up."""
    run, last = _find_asking(work.tx, step)
    if last is not None:
        work.signal(last, GivenUp(step.workflow))
        work.tx.put(run)
        for word in (one for one in words_of(work.tx, run) if one.laid == last.id):
            work.tx.put(replace(word, laid=""))  # The user's message is stored again for the next run.
    return replace(questions.mark_waiting(step, work.signal(run, AskedAgain())), run=run.id)


def _find_asking(tx: Transaction, step: WorkflowStep) -> tuple[Run, Run | None]:
    """Return the run that asks again, and the step's own run if it is a different run."""
    run = asks_again(tx, step)
    assert run is not None  # The caller has checked that there is such a run.
    last = tx.get(Run, step.run) if step.run is not None else None
    return run, last if last is not None and last.id != run.id else None
