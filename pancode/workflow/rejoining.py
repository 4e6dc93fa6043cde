"""Puts the answer to a step's question, and a step's retry, into its place; a resumed step asks again."""

from __future__ import annotations

from pancode.control.run import words_of
from pancode.control.work import Work
from pancode.core.ports import Transaction
from pancode.core.records import Run, RunTerms, WaitReason, Workflow, WorkflowStep
from pancode.core.values import replace
from pancode.errors import UsageError
from pancode.life.signals import AskedAgain, GivenUp
from pancode.workflow import questions, retrying
from pancode.workflow import step_rows as rows
from pancode.workflow.advance import reopened


def place_of(tx: Transaction, old: Run) -> WorkflowStep | None:
    """The step that waits for a person because of this run. RefusedError while its workflow is stopped."""
    workflow = tx.get(Workflow, old.workflow) if old.workflow is not None else None
    if workflow is None:
        return None
    mine = (step for step in rows.steps_of(tx, workflow.id) if step.name == old.step)
    return next((step for step in mine if questions.goes_on_in(workflow, step, old)), None)


def must_take(tx: Transaction, old: Run) -> WorkflowStep:
    """The step whose place the retry of this run takes. UsageError where it cannot."""
    workflow = tx.get(Workflow, str(old.workflow))
    assert workflow is not None  # a workflow is never deleted
    steps = {step.name: step for step in rows.steps_of(tx, workflow.id)}
    step = steps.get(str(old.step))
    if step is None:
        raise UsageError(
            f"{old.id} cannot be retried in its place: {workflow.name} keeps no item {old.step} any more",
            fix=f"pancode runs retry --alone {old.id}",
            code="not_in_its_place",
        )
    retrying.must_take(workflow, steps, old, asks_again(tx, step))
    return step


def placed(run: Run, step: WorkflowStep, before: Run | None) -> Run:
    """The new run, after `before`, as one of the workflow: held back until there is a place for it."""
    run = replace(run, workflow=step.workflow, step=step.name, waits=WaitReason.WORKFLOW, reason=rows.HELD)
    if before is None:
        return run
    run = replace(run, land=run.land and before.land)  # of a chain, the settings land its result at the end
    goes_on = not run.terms.get("in_step")  # a retry begins where the old run did, or anew
    origin = before.terms.get("origin") or (before.workspace.get("snapshot") if goes_on else None)
    if origin is None:
        return run
    terms: RunTerms = {**run.terms, "origin": str(origin)}
    if not goes_on and "takes" in before.terms:
        terms["takes"] = before.terms["takes"]
    return replace(run, terms=terms)


def taken(work: Work, step: WorkflowStep, run: Run) -> None:
    """The step goes on with this run, and its workflow is looked at; a retry opens it again."""
    workflow = work.tx.get(Workflow, step.workflow)
    assert workflow is not None  # a workflow is never deleted
    if run.terms.get("in_step"):
        steps = {one.name: one for one in rows.steps_of(work.tx, workflow.id)}
        rows.put_steps(work, *retrying.retaken(steps, step.name, run.id))
        workflow = opened(work, workflow, run.created_by)
    else:
        rows.put_steps(work, questions.went_on(step, run.id))
    rows.ask_to_advance(work, workflow)


def opened(work: Work, workflow: Workflow, by: str) -> Workflow:
    """The workflow, which goes on though it had ended."""
    again = reopened(workflow)
    work.tx.put(again)
    work.audit("fleet", "info", "workflow resumed", workflow=again.id, by=by)
    return again


def asks_again(tx: Transaction, step: WorkflowStep) -> Run | None:
    """The run that waits for a person again once the step is resumed, as it is then.

    It is the step's own, or the one before it, where the run that had the answer came to nothing.
    """
    run = tx.get(Run, step.run) if step.run is not None else None
    if run is None:
        return None
    if questions.asks_again(step, run, rows.is_asked(tx, run)):
        return run
    before = run.terms.get("continues")
    return questions.unanswered(step, run, tx.get(Run, before) if before is not None else None)


def asked_again(work: Work, step: WorkflowStep) -> WorkflowStep:
    """The step, which waits; its question is in the inbox again. What was lost on the way is given up."""
    run, last = _asking(work.tx, step)
    if last is not None:
        work.signal(last, GivenUp(step.workflow))
        work.tx.put(run)
        for word in (one for one in words_of(work.tx, run) if one.laid == last.id):
            work.tx.put(replace(word, laid=""))  # it is kept for the next run again
    return replace(questions.waiting(step, work.signal(run, AskedAgain())), run=run.id)


def _asking(tx: Transaction, step: WorkflowStep) -> tuple[Run, Run | None]:
    """The run that asks again, and the step's own where that is another one."""
    run = asks_again(tx, step)
    assert run is not None  # `resume` has looked
    last = tx.get(Run, step.run) if step.run is not None else None
    return run, last if last is not None and last.id != run.id else None
