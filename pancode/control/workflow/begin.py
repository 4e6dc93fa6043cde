"""Begins a workflow: its first steps are judged, their snapshots taken, and all of them queued at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pancode.control import snapshots
from pancode.control.bind import bind_in
from pancode.control.core import Core
from pancode.control.dispatch import (
    AskedDispatch,
    JudgedDispatch,
    ask,
    dry_run,
    new_id_in,
    passed,
    put_in_queue,
    run_of,
    warnings_of,
)
from pancode.control.faces import Surroundings
from pancode.control.model_lists import decided
from pancode.control.work import Work, unit_of_work
from pancode.control.workflow import rows
from pancode.domain.life.decide import decide
from pancode.domain.life.signals import Admitted
from pancode.domain.records import (
    EventKind,
    Run,
    RunState,
    WaitReason,
    Workflow,
    WorkflowStep,
    WorkflowStepState,
)
from pancode.domain.request import DispatchRequest
from pancode.domain.resolve import Resolution
from pancode.domain.values import replace
from pancode.domain.workflow.plan import StepPlan, WorkflowPlan, check
from pancode.domain.workflow.template import first_task
from pancode.errors import PancodeError, RefusedError
from pancode.ports import SnapshotTaken

HELD = "its turn in the workflow has not come"


@dataclass(frozen=True, slots=True)
class BegunWorkflow:
    """The workflow with what the person should know."""

    workflow: Workflow
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A step that is to be queued now, with all that this takes; or why it is not."""

    step: StepPlan
    asked: AskedDispatch | None = None
    judged: JudgedDispatch | None = None
    run: str = ""
    taken: SnapshotTaken | None = None
    refused: PancodeError | None = None


def plan_dry(core: Core, around: Surroundings, plan: WorkflowPlan) -> list[tuple[StepPlan, JudgedDispatch]]:
    """What each step's dispatch would be now, nothing changed. PancodeError for what cannot be resolved."""
    check(plan)
    judged = []
    for step in plan.steps:
        try:
            judged.append((step, dry_run(core, around, _request(plan, step))))
        except PancodeError as error:
            raise _named(error, step, plan) from error
    return judged


def begin(core: Core, around: Surroundings, plan: WorkflowPlan) -> BegunWorkflow:
    """Queue the steps that need no other, all or none of them (`partial`: those that are admitted).

    The refusal of a step names it; then nothing was begun.
    """
    check(plan)
    first = [step for step in plan.steps if not step.needs]
    ready = [_judged(core, around, plan, step) for step in first]
    ready = _with_snapshots(core, plan, ready)
    return decided(
        core.lists, core.lock, lambda: _committed(core, plan, _judged_again(core, around, plan, ready))
    )


def _request(plan: WorkflowPlan, step: StepPlan) -> DispatchRequest:
    request = replace(step.request, created_by=plan.by, cwd=plan.cwd)
    return replace(request, task=first_task(request.task, plan.input)) if not step.needs else request


def _judged(core: Core, around: Surroundings, plan: WorkflowPlan, step: StepPlan) -> _Ready:
    try:
        asked = ask(core, around, _request(plan, step), None)
        judged = decided(core.lists, core.lock, lambda: passed(core, around, asked))
    except PancodeError as error:
        return _refused(plan, step, error)
    return _Ready(step, asked, judged)


def _refused(plan: WorkflowPlan, step: StepPlan, error: PancodeError) -> _Ready:
    """Left out where that is wanted; else it is the refusal of all."""
    if plan.partial:
        return _Ready(step, refused=error)
    raise _named(error, step, plan)


def _named(error: PancodeError, step: StepPlan, plan: WorkflowPlan) -> PancodeError:
    """The same error, which says whose it is."""
    if len(plan.steps) > 1:
        error.args = (f"step {step.name}: {error}",)
    error.details["step"] = step.name
    return error


def _with_snapshots(core: Core, plan: WorkflowPlan, ready: Sequence[_Ready]) -> list[_Ready]:
    """Each with the id of its run, and its snapshot: one for all that would take the same files."""
    known: dict[object, SnapshotTaken] = {}
    ids: set[str] = set()
    done = []
    for one in ready:
        if one.judged is None:
            done.append(one)
            continue
        run, resolution = _fresh(core, ids), one.judged.resolution
        try:
            taken = _taken(core, resolution, run, known)
        except PancodeError as error:
            done.append(_refused(plan, one.step, error))
            continue
        done.append(replace(one, run=run, taken=taken))
    return done


def _taken(
    core: Core, resolution: Resolution, run: str, known: dict[object, SnapshotTaken]
) -> SnapshotTaken | None:
    same = (resolution.project, resolution.request.folder, resolution.allowed_files)
    if same in known:
        core.ports.depot.begin_at(run, known[same])
        return known[same]
    taken = snapshots.take(core, resolution, run)
    if taken is not None:
        known[same] = taken
    return taken


def _fresh(core: Core, ids: set[str]) -> str:
    """A run's id that is not taken, in this workflow either."""
    with core.ports.ledger.transaction() as tx:
        while (run := new_id_in(core, tx)) in ids:
            pass
    ids.add(run)
    return run


def _judged_again(
    core: Core, around: Surroundings, plan: WorkflowPlan, ready: Sequence[_Ready]
) -> list[_Ready]:
    """Snapshots may take long: what has taken one is judged as things are now."""
    done = []
    for one in ready:
        if one.asked is None or one.taken is None:
            done.append(one)
            continue
        asked = replace(one.asked, request=replace(one.asked.request, repo=one.taken.repo))
        try:
            done.append(replace(one, judged=passed(core, around, asked)))
        except PancodeError as error:
            done.append(_refused(plan, one.step, error))
    return done


def _committed(core: Core, plan: WorkflowPlan, ready: Sequence[_Ready]) -> BegunWorkflow:
    """The workflow, all its steps, their runs and holds: in one transaction, or not at all."""
    by_name = {one.step.name: one for one in ready}
    with unit_of_work(core) as work:
        workflow = plan.row(rows.new_id(core, work.tx), core.wall_ms())
        work.tx.insert(workflow)
        work.happened(rows.workflow_event(EventKind.WORKFLOW_STARTED, workflow))
        places = workflow.concurrency or len(plan.steps)
        for number, step in enumerate(plan.steps):
            row = step.row(workflow.id, number)
            one = by_name.get(step.name)
            if one is not None:
                row = _queued(work, plan, row, one, held=places < 1 or number * plan.stagger_ms > 0)
                places -= row.state is WorkflowStepState.RUNNING
            work.tx.insert(row)
            work.happened(rows.step_event(row))
        rows.ask_to_advance(work, workflow)
        if not core.live.waiting:
            bind_in(work)
    return BegunWorkflow(workflow, _warnings(ready))


def _queued(work: Work, plan: WorkflowPlan, row: WorkflowStep, one: _Ready, held: bool) -> WorkflowStep:
    """The step with its run; refused where its estimate has no room, and that is to be left out."""
    if one.judged is None:
        return _refused_row(work, row, one.refused)
    run = run_in(work.core, one.judged.resolution, row, (one.run, one.taken), held)
    try:
        if plan.partial:  # what is refused is not to leave half of its story
            decide(work.case(run), Admitted(work.core.purses(work.tx, run)))
        put_in_queue(work, run, one.judged.verdicts)
    except RefusedError as error:
        if plan.partial:
            return _refused_row(work, row, error)
        raise _named(error, one.step, plan) from error
    state = WorkflowStepState.WAITING if held else WorkflowStepState.RUNNING
    started = None if held else work.core.wall_ms()
    return replace(row, state=state, run=run.id, runs=(run.id,), started_ms=started)


def run_in(
    core: Core, resolution: Resolution, row: WorkflowStep, begun: tuple[str, SnapshotTaken | None], held: bool
) -> Run:
    """The run of this step. `begun`: its id, and where it begins."""
    run = replace(run_of(core, resolution, *begun), workflow=row.workflow, step=row.name)
    if held and run.state is RunState.PENDING:
        run = replace(run, waits=WaitReason.WORKFLOW, reason=HELD)
    return run


def _refused_row(work: Work, row: WorkflowStep, error: PancodeError | None) -> WorkflowStep:
    return replace(row, state=WorkflowStepState.REFUSED, reason=str(error), finished_ms=work.core.wall_ms())


def _warnings(ready: Sequence[_Ready]) -> tuple[str, ...]:
    """Each once, however many steps it is about."""
    told = (warnings_of(one.judged, one.taken) for one in ready if one.judged is not None)
    return tuple(dict.fromkeys(word for words in told for word in words))
