"""Starts a workflow: checks its steps, requires approval of a project's file, writes all atomically."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from node_agent.wire.policy import Isolation
from pancode.kernel import records
from pancode.kernel.errors import PancodeError, RefusedError
from pancode.kernel.ports import SnapshotTaken
from pancode.kernel.states import LandRule
from pancode.kernel.values import replace
from pancode.runs.admission.dry_run import report_plan
from pancode.runs.admission.gates.capacity import BUDGET
from pancode.runs.admission.gates.permission import BREAKER_OPEN, NEVER_FIX, NEVER_LANDS
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.planning import complete_request
from pancode.runs.admission.planning import judge_again as recheck
from pancode.runs.answers import Json
from pancode.runs.core import Core, decide_locked
from pancode.runs.dispatch import (
    add_snapshot,
    admission_of,
    admit_run,
    dry_run,
    make_plan,
    new_id_in,
    put_in_queue,
    run_of,
)
from pancode.runs.life.changes import decide
from pancode.runs.placement.binding import bind_in
from pancode.runs.request import DispatchRequest, workspace_in
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.workflows import store as rows
from pancode.workflows.model import (
    IN_ORDER,
    SETTING,
    StepPlan,
    WorkflowPlan,
    make_consent_error,
    reasons_to_ask,
)
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from pancode.workflows.step_graph import check_plan
from pancode.workflows.step_work import check_script, first_task

PARTIAL = "leave out refused steps: --partial"


@dataclass(frozen=True, slots=True)
class BegunWorkflow:
    """The workflow, with warnings for the user."""

    workflow: Workflow
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadyStep:
    """A step to queue now, with its plan and run; or the reason why it is refused."""

    step: StepPlan
    plan: Plan | None = None
    run: str = ""
    refused: PancodeError | None = None


def add_step_name(error: PancodeError, step: StepPlan, plan: WorkflowPlan) -> PancodeError:
    """Return the error with the name of its step added."""
    if len(plan.steps) > 1:
        error.args = (f"step {step.name}: {error}",)
    error.details["step"] = step.name
    return offering_partial(error, plan)


def offering_partial(error: PancodeError, plan: WorkflowPlan) -> PancodeError:
    """Return the error; if the step is one of several independent ones, with a fix that starts the others."""
    if isinstance(error, RefusedError) and plan.kind not in IN_ORDER and len(plan.steps) > 1:
        error.fix = "; or ".join(filter(None, (error.fix, PARTIAL)))
    return error


def commit_workflow(core: Core, plan: WorkflowPlan, ready: Sequence[ReadyStep]) -> BegunWorkflow:
    """Write the workflow, its steps, runs and reservations in one transaction."""
    by_name = {one.step.name: one for one in ready}
    with unit_of_work(core) as work:
        workflow = plan.row(plan.id or rows.new_id(core, work.tx), core.wall_ms())
        work.tx.insert(workflow)
        work.happened(rows.workflow_event(records.EventKind.WORKFLOW_STARTED, workflow))
        places = workflow.concurrency or len(plan.steps)
        views = core.views(work.tx) if plan.stagger_ms else []
        before = Counter[str]({view.node.name: 0 for view in views if view.answers})
        for number, step in enumerate(plan.steps):
            row = step.row(workflow.id, number)
            one = by_name.get(step.name)
            if one is not None:
                pause = plan.stagger_ms * _starts_before(one, before)
                row = row if pause == 0 else replace(row, begins_ms=workflow.created_ms + pause)
                row = _queue_step(work, plan, row, one, held=places < 1 or pause > 0)
                places -= row.state is WorkflowStepState.RUNNING
            work.tx.insert(row)
            work.happened(rows.step_event(row))
        rows.ask_to_advance(work, workflow)
        if not core.live.binding.waiting:
            bind_in(work)
    # Each warning is shown once, regardless of the number of steps that it concerns.
    warnings = (one.plan.warnings for one in ready if one.plan is not None)
    return BegunWorkflow(workflow, tuple(dict.fromkeys(word for words in warnings for word in words)))


def _starts_before(one: ReadyStep, before: Counter[str]) -> int:
    """Count this start in `before`, and return how many agent programs start before it on its node, or on the
    node with the fewest starts. A user's own command starts instantly and delays no other start."""
    if one.plan is None or one.plan.runtime.own:
        return 0
    name = one.plan.request.node or min(before, key=lambda node: before[node], default="")
    before[name] += 1
    return before[name] - 1


def _queue_step(
    work: Work, plan: WorkflowPlan, row: WorkflowStep, one: ReadyStep, held: bool
) -> WorkflowStep:
    """Queue the step's run and return the step; mark it as refused if there is no budget for its estimate and
    the plan allows leaving steps out."""
    if one.plan is None:
        return _refused_row(work, row, one.refused)
    batch = plan.kind is WorkflowKind.BATCH
    run = run_in(work.core, one.plan, row, one.run, held=held, batch=batch)
    try:
        if plan.partial:  # Decide before writing, so that a refused run leaves no rows.
            decide(work.case(run), admission_of(work, run))
        put_in_queue(work, run, one.plan)
    except RefusedError as error:
        if plan.partial:
            return _refused_row(work, row, error)
        raise add_step_name(error, one.step, plan) from error
    state = WorkflowStepState.WAITING if held else WorkflowStepState.RUNNING
    started = None if held else work.core.wall_ms()
    return replace(row, state=state, run=run.id, runs=(run.id,), started_ms=started)


def run_in(core: Core, plan: Plan, row: WorkflowStep, run_id: str, *, held: bool, batch: bool) -> records.Run:
    """Return the step's run. In a batch, the settings decide on landing each result; in other workflows, on
    landing the result of the whole workflow at its end."""
    run = replace(run_of(core, plan, run_id), workflow=row.workflow, step=row.name)
    run = run if batch else replace(run, land=plan.request.land)
    if held and run.state is records.RunState.PENDING:
        run = replace(run, waits=records.WaitReason.WORKFLOW, reason=rows.HELD)
    return run


def _refused_row(work: Work, row: WorkflowStep, error: PancodeError | None) -> WorkflowStep:
    return replace(row, state=WorkflowStepState.REFUSED, reason=str(error), finished_ms=work.core.wall_ms())


def request_of(plan: WorkflowPlan, step: StepPlan) -> DispatchRequest:
    """Return the request to dispatch the step, as far as it is known when the workflow starts."""
    request = replace(step.request, created_by=plan.by, cwd=plan.cwd)
    if step.needs or plan.kind not in IN_ORDER:
        return request
    return replace(request, task=first_task(request.task, plan.input))


def at_its_place(
    core: Core, around: Surroundings, request: DispatchRequest, cwd: str | None, later: bool = False
) -> DispatchRequest:
    """Return the completed request of a step. RefusedError if its workspace belongs to another repository
    than the workflow, as a project's file must not affect other repositories."""
    placed = complete_request(core, around, request, later)
    top = None if cwd is None else around.project_of(cwd)
    if workspace_in(request.workspace) is not None and top not in (None, placed.project):
        what = f"workspace {request.workspace} belongs to another repository than the workflow"
        fix = f"start the workflow in that repository: pancode -C {placed.project} ..."
        raise RefusedError(what, why=f"{placed.project}, and not {top}", fix=fix, code="other_repository")
    return placed


def judge_again(core: Core, around: Surroundings, plan: WorkflowPlan, names: Collection[str]) -> None:
    """Check these steps of a workflow before it continues. PancodeError names the step that fails."""
    for step in plan.steps:
        if step.name in names:
            judged_step(core, around, replace(plan, partial=False), step)


def judged_step(core: Core, around: Surroundings, plan: WorkflowPlan, step: StepPlan) -> ReadyStep:
    """Return the step after checking it with the ten gates. PancodeError names the step; if the plan has
    `partial`, the returned step contains the error instead."""
    try:
        request = at_its_place(core, around, request_of(plan, step), plan.cwd, later=bool(step.needs))
        made = make_plan(core, around, request)
        check_later(plan, step, made)
    except PancodeError as error:
        if step.needs and error.code == BREAKER_OPEN:
            # The step is checked again when it starts, and then waits for the circuit breaker.
            return ReadyStep(step)
        return refuse_step(plan, step, error)
    return ReadyStep(step, made)


def check_later(plan: WorkflowPlan, step: StepPlan, made: Plan) -> None:
    """Raise RefusedError for a script with unusable placeholders or for a change that may not land."""
    if plan.caller.get("land") and made.defaults.land is LandRule.NEVER:
        raise RefusedError(f"Workflow blocked: {NEVER_LANDS}", fix=NEVER_FIX, code="never_lands")
    if plan.kind in IN_ORDER and made.runtime.name == "shell":
        check_script(step.name, step.request.task, step.needs)


def refuse_step(plan: WorkflowPlan, step: StepPlan, error: PancodeError) -> ReadyStep:
    """Return the step as left out if the plan has `partial`; else raise the error."""
    if plan.partial:
        return ReadyStep(step, refused=error)
    raise add_step_name(error, step, plan)


def restrict_plan(core: Core, plan: WorkflowPlan) -> WorkflowPlan:
    """Return the plan as it may start: without approval of its file, all steps may run only in a sandbox.

    An approval in the plan is recorded, so that it is not required again for this content. RefusedError
    `needs_yes` if an approval is required.
    """
    file = plan.file
    if file is None or is_agreed(core, plan):
        return plan
    # The request must not come from a run.
    if all(step.request.confirmed and step.request.depth == 0 for step in plan.steps):
        with unit_of_work(core) as work:
            work.tx.put(records.Setting(f"{SETTING}{file.digest}", file.place, core.wall_ms(), plan.by))
            agreed = {"file": file.place, "digest": file.digest, "by": plan.by}
            work.audit("trust", "info", "workflow file approved", None, **agreed)
        return plan
    error = find_objection(plan)
    if error is not None:
        raise error
    steps = (replace(step, request=replace(step.request, walled=True)) for step in plan.steps)
    return replace(plan, steps=tuple(steps))


def dry_objection(
    core: Core, plan: WorkflowPlan, judged: Sequence[tuple[StepPlan, Plan]]
) -> RefusedError | None:
    """Return the refusal that `restrict_plan` or the step check would raise, without writing anything."""
    if plan.file is None or all(step.request.confirmed for step in plan.steps) or is_agreed(core, plan):
        return None
    outside = next((step.name for step, one in judged if _is_outside(one)), None)
    why = f"step {outside} would run outside of a sandbox"
    return find_objection(plan) or (None if outside is None else make_consent_error(plan.file, why))


def find_objection(plan: WorkflowPlan) -> RefusedError | None:
    """Return the refusal that an approval would lift, as far as it is known before the steps are checked."""
    if plan.file is None:
        return None
    bare = (step.name for step in plan.steps if step.request.workspace == "none")
    reasons = reasons_to_ask(plan.file, bare)
    return make_consent_error(plan.file, "; ".join(reasons)) if reasons else None


def is_agreed(core: Core, plan: WorkflowPlan) -> bool:
    """Whether no approval is needed: the plan is from no file, or a user has approved the file's content."""
    if plan.file is None:
        return True
    with core.ports.ledger.transaction() as tx:
        return tx.get(records.Setting, f"{SETTING}{plan.file.digest}") is not None


def _is_outside(plan: Plan) -> bool:
    """Whether nodes could run the step, but none of them in a sandbox."""
    fitting = [one for one in plan.candidates if one.fits]
    return bool(fitting) and all(one.isolation is not Isolation.SANDBOX for one in fitting)


def report_steps(core: Core, around: Surroundings, plan: WorkflowPlan) -> Json:
    """Return the reports on all steps. Steps that need others are checked again when they start. The
    estimates of steps that start at once are reserved one after another, as in a real start."""
    judged = plan_dry(core, around, plan)
    refused = refused_holds(core, plan, judged)
    steps = [_describe_step(step, one, refused.get(step.name)) for step, one in judged]
    found = [bool(step["admitted"]) for step in steps]
    why = "; ".join(f"step {name}: {error}" for name, error in list(refused.items())[:1])
    fix = "" if plan.partial or plan.kind in IN_ORDER or all(found) else PARTIAL
    answer = {"dry_run": True, "admitted": (any if plan.partial else all)(found), "steps": steps}
    objection = dry_objection(core, plan, judged)
    if objection is not None:
        answer["admitted"], why, fix = False, f"{objection}: {objection.why}", objection.fix
    total = sum((one.due.usd for _, one in judged), Decimal(0))
    return {**answer, "reason": why, "fix": fix, "estimate_usd": f"{total:f}"}


def _describe_step(step: StepPlan, plan: Plan, refused: PancodeError | None) -> Json:
    """Return a step's dry-run report. `refused`: the budget has no room for it after the previous steps."""
    request = step.request
    task = request.task if request.argv is None else " ".join(request.argv)
    row: Json = {"name": step.name, "needs": list(step.needs), "task": task, "node": request.node}
    row |= report_plan(plan)
    if step.needs:
        row["later"] = f"the step's task and files are known when {', '.join(step.needs)} is done"
    if refused is not None:
        gate = {"passed": False, "warning": False, "words": str(refused), "fix": refused.fix}
        row["gates"] = [{**one, **gate} if one["gate"] == BUDGET else one for one in row["gates"]]
        row["admitted"] = False
    return row


def plan_dry(core: Core, around: Surroundings, plan: WorkflowPlan) -> list[tuple[StepPlan, Plan]]:
    """Check each step's dispatch as of now; change nothing. PancodeError if a step cannot be resolved."""
    check_plan(plan)
    judged = []
    for step in plan.steps:
        try:
            request = at_its_place(core, around, request_of(plan, step), plan.cwd, later=bool(step.needs))
            one = dry_run(core, around, request)
            check_later(plan, step, one)
            judged.append((step, one))
        except PancodeError as error:
            raise add_step_name(error, step, plan) from error
    return judged


def refused_holds(
    core: Core, plan: WorkflowPlan, judged: Sequence[tuple[StepPlan, Plan]]
) -> dict[str, PancodeError]:
    """Return, by step, the error for the ceiling that its estimate would exceed after those of earlier steps.
    The steps that start at once are admitted in a transaction that is rolled back."""
    refused: dict[str, PancodeError] = {}
    with suppress(_NotKept), unit_of_work(core) as work:
        workflow = plan.row(rows.new_id(core, work.tx), core.wall_ms())
        work.tx.insert(workflow)
        for number, (step, one) in enumerate(judged):
            if step.needs or not all(verdict.passed for verdict in one.verdicts):
                continue
            row, run = step.row(workflow.id, number), new_id_in(core, work.tx)
            # A step in a workspace starts a moment later, so only its cost matters here.
            alone = replace(one, request=replace(one.request, in_workspace="", continues=None))
            try:
                admit_run(work, run_in(core, alone, row, run, held=False, batch=True))
            except RefusedError as error:
                refused[step.name] = offering_partial(error, plan)
        raise _NotKept
    return refused


class _NotKept(Exception):
    """An exception that rolls the transaction back."""


def begin_workflow(core: Core, around: Surroundings, plan: WorkflowPlan) -> BegunWorkflow:
    """Queue the steps that need no others: all of them or none (`partial`: those that are admitted).

    All steps are checked, later ones as far as known. A refusal names its step, and none starts. Steps in a
    workspace start automatically a moment later, because it can have only one writer.
    """
    check_plan(plan)
    requested, plan = plan, restrict_plan(core, plan)
    judged = [_judge_step(core, around, plan, step, requested.steps[n]) for n, step in enumerate(plan.steps)]
    at_once = [one for one in judged if not (one.step.needs or workspace_in(one.step.request.workspace))]
    ready = _with_snapshots(core, plan, at_once)
    begun = decide_locked(
        core.lists, core.lock, lambda: commit_workflow(core, plan, _judged_again(core, plan, ready))
    )
    text = plan.file.words() if plan.file is not None else ""
    return replace(begun, warnings=(text, *begun.warnings)) if text else begun


def _judge_step(
    core: Core, around: Surroundings, plan: WorkflowPlan, step: StepPlan, before: StepPlan
) -> ReadyStep:
    """Check a step. If one of a project's file is refused only for lack of a sandbox, require approval."""
    try:
        one = judged_step(core, around, plan, step)
        error = one.refused
    except PancodeError as refusal:
        one, error = None, refusal
    if error is not None and plan.file is not None and step.request.walled and not before.request.walled:
        # The step may only run in a sandbox and so is refused, although it could run outside of one.
        assert plan.file is not None
        if judged_step(core, around, replace(plan, partial=True), before).refused is None:
            raise make_consent_error(
                plan.file, f"step {before.name} would run outside of a sandbox: no node has one for it"
            )
    if one is None:
        assert error is not None
        raise error
    return one


def _with_snapshots(core: Core, plan: WorkflowPlan, ready: Sequence[ReadyStep]) -> list[ReadyStep]:
    """Return each step with the id and snapshot of its run; steps with the same files share one snapshot."""
    known: dict[object, SnapshotTaken] = {}
    ids: set[str] = set()
    done = []
    for one in ready:
        if one.plan is None:
            done.append(one)
            continue
        run = _make_run_id(core, ids)
        try:
            made = _with_snapshot(core, one.plan, run, known)
        except PancodeError as error:
            done.append(refuse_step(plan, one.step, error))
            continue
        done.append(replace(one, run=run, plan=made))
    return done


def _with_snapshot(core: Core, plan: Plan, run: str, known: dict[object, SnapshotTaken]) -> Plan:
    same = (plan.project, plan.request.folder, plan.allowed_files)
    if same in known:
        core.ports.depot.begin_at(run, known[same])
        return plan.at(known[same])
    plan = add_snapshot(core, plan, run)
    if plan.snapshot is not None:
        known[same] = plan.snapshot
    return plan


def _make_run_id(core: Core, ids: set[str]) -> str:
    """Return a run id that is new in the ledger and among `ids`, those of this workflow."""
    with core.ports.ledger.transaction() as tx:
        while (run := new_id_in(core, tx)) in ids:
            pass
    ids.add(run)
    return run


def _judged_again(core: Core, plan: WorkflowPlan, ready: Sequence[ReadyStep]) -> list[ReadyStep]:
    """Check each step that took a snapshot again, because making the snapshot may have taken long."""
    done = []
    for one in ready:
        if one.plan is None or one.plan.snapshot is None:
            done.append(one)
            continue
        try:
            done.append(replace(one, plan=recheck(core, one.plan)))
        except PancodeError as error:
            done.append(refuse_step(plan, one.step, error))
    return done
