"""Users' operations on a workflow: stop it, resume it where it failed, and repeat it."""

from __future__ import annotations

from collections.abc import Iterable

from pancode.kernel.errors import UsageError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run
from pancode.kernel.states import LandRule
from pancode.kernel.values import replace
from pancode.kernel.visitors import AccessScope, is_allowed, token_behind
from pancode.runs.answers import Json
from pancode.runs.core import Core
from pancode.runs.life.conversation import payer_of
from pancode.runs.life.ends import GivenUp
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.workflows import step_replacement
from pancode.workflows import store as rows
from pancode.workflows.model import plan_of
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowState, WorkflowStep, WorkflowStepState
from pancode.workflows.rounds import find_loop, insert_resolvers, once_more, ran_out
from pancode.workflows.rules import OPEN, mark_running
from pancode.workflows.service import BegunWorkflow, begin_workflow, judge_again


def find_starter(core: Core, text: str) -> tuple[str, str]:
    """Return the workflow's id, and who pays for the run that started it; empty if none did."""
    with core.ports.ledger.transaction() as tx:
        workflow = rows.find_workflow(tx, text)
        begun_by = tx.get(Run, workflow.created_by)
    return workflow.id, "" if begun_by is None else payer_of(begun_by)


def stop_workflow(core: Core, text: str, reason: str, by: str) -> Workflow:
    """Stop the workflow and its active runs, start nothing more, and return the workflow."""
    with unit_of_work(core) as work:
        workflow = rows.find_workflow(work.tx, text)
        if workflow.state is not WorkflowState.RUNNING:
            return workflow
        stopped = replace(workflow, state=WorkflowState.STOPPING, stop_asked=reason or f"stopped by {by}")
        work.tx.put(stopped)
        rows.ask_to_advance(work, stopped)
        work.audit("fleet", "info", "workflow stopped", workflow=stopped.id, by=by, reason=reason)
        return stopped


def resume_workflow(
    core: Core, around: Surroundings, text: str, by: str, approved: bool = False, resolve: bool = False
) -> Workflow:
    """Start the steps that did not succeed again; finished steps are not repeated. UsageError if there are no
    steps to start.

    All steps to start are checked first; a refusal names the step. `approved`: a user approves these steps.
    `resolve`: for each conflict between results of steps, add a step that resolves it. A step with an
    unanswered question waits for the answer again, as does one whose answering run had no result.
    """
    with core.ports.ledger.transaction() as tx:
        workflow = rows.find_workflow(tx, text)
        _must_have_failed(workflow)
        steps = _find_steps(tx, workflow, resolve)
        begin = {name for name in _to_begin(steps) if step_replacement.asks_again(tx, steps[name]) is None}
    plan = plan_of(
        workflow, tuple(confirm_step(step, approved) for step in steps.values()), workflow.created_by
    )
    judge_again(core, around, plan, begin)
    with unit_of_work(core) as work:
        workflow = rows.find_workflow(work.tx, workflow.id)
        _must_have_failed(workflow)
        steps = _find_steps(work.tx, workflow, resolve)
        known = {step.name for step in rows.steps_of(work.tx, workflow.id)}
        for name in _to_begin(steps):
            step = begun_again(work, confirm_step(steps[name], approved), _is_begun_anew(steps, name))
            if name in known:
                rows.put_steps(work, step)
            else:
                work.tx.insert(step)
                work.happened(rows.step_event(step))
        again = mark_running(workflow)
        work.tx.put(again)
        work.audit("fleet", "info", "workflow resumed", workflow=again.id, by=by)
        rows.ask_to_advance(work, again)
        return again


def _find_steps(tx: Transaction, workflow: Workflow, resolve: bool) -> dict[str, WorkflowStep]:
    """Return the steps by name; with `resolve`, including new steps that resolve conflicts."""
    steps = rows.steps_of(tx, workflow.id)
    return {step.name: step for step in (insert_resolvers(workflow.id, steps) if resolve else steps)}


def retry_workflow(
    core: Core, around: Surroundings, text: str, by: str, approved: bool = False
) -> BegunWorkflow:
    """Start the whole workflow again as a new one, and give up the old one's lost runs. UsageError if the old
    one has not ended."""
    with core.ports.ledger.transaction() as tx:
        workflow = rows.find_workflow(tx, text)
        steps = rows.steps_of(tx, workflow.id)
    _must_be_no_lane(workflow)
    if workflow.state in OPEN:
        raise UsageError(
            f"{workflow.id} has not ended: it is {workflow.state}",
            fix=f"pancode workflow stop {workflow.id}",
            code="not_ended",
        )
    plan = plan_of(workflow, tuple(confirm_step(step, approved) for step in steps), by)
    begun = begin_workflow(core, around, plan)
    _give_up_lost(core, steps, begun.workflow.id)
    return begun


def _give_up_lost(core: Core, steps: Iterable[WorkflowStep], by: str) -> None:
    """Give up lost runs that may still be running: they are replaced, so they must end."""
    with unit_of_work(core) as work:
        for step in steps:
            run = work.tx.get(Run, step.lost) if step.lost is not None else None
            if run is not None:
                work.signal(run, GivenUp(by))


def confirm_step(step: WorkflowStep, approved: bool) -> WorkflowStep:
    """Return the step with this approval; an earlier approval also counts if the caller may approve."""
    before = bool(step.request.get("confirmed")) and is_allowed(AccessScope.ANSWER)
    return replace(step, request={**step.request, "confirmed": approved or before})


def begun_again(work: Work, step: WorkflowStep, anew: bool) -> WorkflowStep:
    """Return the step with its lost run if that was found again, or with its question open again; else with a
    new run."""
    if rows.is_back(work.tx, step):
        return rows.taken_back(step)
    if step_replacement.asks_again(work.tx, step) is not None:
        return step_replacement.ask_again(work, step)
    return once_more(step, anew)


def caller_of(core: Core, text: str) -> Json:
    """Return the settings and the preset with which the workflow was started."""
    with core.ports.ledger.transaction() as tx:
        return dict(rows.find_workflow(tx, text).caller)


def is_workflow_landing(core: Core, text: str, around: Surroundings | None = None) -> bool:
    """Whether the workflow or one of its steps lands its change automatically. NotFoundError. `around`: given
    if the workflow continues under its owner's name, so that the owner's landing settings apply."""
    with core.ports.ledger.transaction() as tx:
        workflow = rows.find_workflow(tx, text)
        own = bool(workflow.caller.get("land"))
        requested = own or any(step.request.get("land") for step in rows.steps_of(tx, workflow.id))
    if requested or around is None or token_behind(workflow.created_by) is not None:
        return requested
    return around.defaults(None).land is LandRule.WHEN_PASSED


def _must_be_no_lane(workflow: Workflow) -> None:
    if workflow.kind is WorkflowKind.LANE:
        name = workflow.name
        fix = (
            f"see pancode lane show {name}; then pancode lane skip {name}, or pancode lane create "
            f"--resume {name}"
        )
        why = f"{workflow.id} is lane {name}, which works on its items one after the other"
        what = "a lane cannot be resumed or retried as a workflow"
        raise UsageError(what, why=why, fix=fix, code="is_a_lane")


def _must_have_failed(workflow: Workflow) -> None:
    _must_be_no_lane(workflow)
    if workflow.state in OPEN or workflow.state is WorkflowState.DONE:
        ended = workflow.state is WorkflowState.DONE
        raise UsageError(
            f"{workflow.id} {'is done' if ended else 'has not ended'}, so there is nothing to resume",
            fix=f"run all of it again: pancode runs retry {workflow.id}"
            if ended
            else f"pancode workflow show {workflow.id}",
            code="nothing_to_resume",
        )


def _to_begin(steps: dict[str, WorkflowStep]) -> set[str]:
    """Return the names of steps to start again: those not done, and all of a loop that used up its rounds."""
    left = {step.name for step in steps.values() if step.state is not WorkflowStepState.DONE}
    return left | {name for name in steps if _is_begun_anew(steps, name)}


def _is_begun_anew(steps: dict[str, WorkflowStep], name: str) -> bool:
    """Whether the step is in a loop that used up its rounds."""
    return any(ran_out(one) and name in find_loop(steps, one) for one in steps.values())
