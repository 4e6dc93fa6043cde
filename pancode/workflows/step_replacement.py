"""Makes the run with the answer to a step's question, or the retry of a lane's item, the step's new run."""

from __future__ import annotations

from pancode.kernel.errors import UsageError
from pancode.kernel.facets import Lineage
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, WaitReason
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.features import Joining
from pancode.runs.life.approvals import AskedAgain
from pancode.runs.life.ends import GivenUp
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import Work
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import words_of
from pancode.workflows import questions, step_store
from pancode.workflows.questions import with_next_run
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from pancode.workflows.rounds import once_more
from pancode.workflows.rules import OPEN


def _find_objection(lane: Workflow, step: WorkflowStep | None, old: Run) -> tuple[str, str]:
    """Return why the retry cannot become the item's run, and a command that helps; empty if it can."""
    show = f"pancode lane show {lane.name}"
    if lane.state not in OPEN:
        return f"lane {lane.name} was removed", "pancode lane ls"
    if step is None:
        return f"lane {lane.name} no longer has this item", show
    if step.run == old.id and step.state in (WorkflowStepState.FAILED, WorkflowStepState.STOPPED):
        return "", ""
    if step.state is WorkflowStepState.SKIPPED:
        return "the item was skipped", f'add it again: pancode lane add {lane.name} "..."'
    if step.run is not None and step.run != old.id and old.id in step.runs:
        return f"{step.run} already took its place", show
    return "the item has not failed", show


def retake_step(core: Core, around: Surroundings, request: DispatchRequest, later: bool) -> DispatchRequest:
    """Return the request for a retry that becomes the run of its lane's item. UsageError if it cannot, and
    for a step of any other workflow. Checked before making a snapshot, and when the retry is queued."""
    with core.ports.ledger.transaction() as tx:
        old = tx.get(Run, str(request.retry_of))
        assert old is not None  # Runs are never deleted.
        return replace(request, lane=must_take(tx, old).workflow)


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
    """Return the item whose run the retry of `old` becomes. UsageError if the retry cannot become its run."""
    workflow = tx.get(Workflow, str(old.workflow))
    assert workflow is not None  # Workflows are never deleted.
    step = next((one for one in step_store.steps_of(tx, workflow.id) if one.name == old.step), None)
    if workflow.kind is WorkflowKind.LANE:
        what, fix = _find_objection(workflow, step, old)
    else:
        what = f"it is the run of a step of {workflow.id}, which a retry does not replace"
        fix = f"start the failed steps again: pancode workflow resume {workflow.id}"
    if what or step is None:
        raise UsageError(
            f"{old.id} cannot be retried in its place: {what}",
            fix=f"{fix}; outside the workflow: pancode runs retry --alone {old.id}",
            code="not_in_its_place",
        )
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
    """Make this run the step's run and advance the workflow."""
    workflow = work.tx.get(Workflow, step.workflow)
    assert workflow is not None  # Workflows are never deleted.
    before = once_more(step) if Lineage.of(run).in_step else step
    step_store.put_steps(work, with_next_run(before, run.id))
    step_store.ask_to_advance(work, workflow)


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
