"""Makes the run with the answer to a step's question the step's new run."""

from __future__ import annotations

from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, WaitReason
from pancode.kernel.values import replace
from pancode.runs.facts import Lineage
from pancode.runs.features import Joining
from pancode.runs.life.approvals import AskedAgain
from pancode.runs.life.ends import GivenUp
from pancode.runs.unit_of_work import Work
from pancode.runs.views import words_of
from pancode.workflows import questions, step_store
from pancode.workflows.questions import with_next_run
from pancode.workflows.records import Workflow, WorkflowStep


def take_step(work: Work, joining: Joining) -> Run:
    """Return the run, attached to the step of the run that it continues if it becomes that step's run.
    RefusedError."""
    run, before, tx = joining.run, joining.continued, work.tx
    step = None if before is None else place_of(tx, before)
    if before is None or step is None:
        return run
    workflow = tx.get(Workflow, step.workflow)
    assert workflow is not None  # Workflows are never deleted.
    step_store.put_steps(work, with_next_run(step, run.id))
    step_store.ask_to_advance(work, workflow)
    # The run is held back until a slot is free. In a chain, the settings decide on landing the result at the
    # end of the workflow.
    run = replace(run, workflow=step.workflow, step=step.name, waits=WaitReason.WORKFLOW)
    run = replace(run, reason=step_store.HELD, land=run.land and before.land)
    origin = Lineage.of(before).origin or before.workspace.get("snapshot")
    return run if origin is None else replace(Lineage.of(run), origin=str(origin)).on(run)


def place_of(tx: Transaction, old: Run) -> WorkflowStep | None:
    """Return the step waiting for a user due to `old`, or None. RefusedError if its workflow is stopping."""
    workflow = tx.get(Workflow, old.workflow) if old.workflow is not None else None
    if workflow is None:
        return None
    mine = (step for step in step_store.steps_of(tx, workflow.id) if step.name == old.step)
    return next((step for step in mine if questions.is_next_run(workflow, step, old)), None)


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
    run, last = asks_again(work.tx, step), work.tx.get(Run, step.run or "")
    assert run is not None  # The caller has checked that there is such a run.
    if last is not None and last.id != run.id:
        work.signal(last, GivenUp(step.workflow))
        work.tx.put(run)
        for word in (one for one in words_of(work.tx, run) if one.laid == last.id):
            work.tx.put(replace(word, laid=""))  # The user's message is stored again for the next run.
    return replace(questions.mark_waiting(step, work.signal(run, AskedAgain())), run=run.id)
