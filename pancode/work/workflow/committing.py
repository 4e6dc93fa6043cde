"""Writes a workflow down with the runs of its first steps: in one transaction, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pancode.control.core import Core
from pancode.control.work import Work, unit_of_work
from pancode.core.ports import SnapshotTaken
from pancode.core.records import (
    EventKind,
    Run,
    RunState,
    WaitReason,
    Workflow,
    WorkflowKind,
    WorkflowStep,
    WorkflowStepState,
)
from pancode.core.values import replace
from pancode.dispatch.bind import bind_in
from pancode.dispatch.dispatch import (
    AskedDispatch,
    JudgedDispatch,
    admission_of,
    put_in_queue,
    run_of,
    warnings_of,
)
from pancode.dispatch.resolve import Resolution
from pancode.errors import PancodeError, RefusedError
from pancode.life.decide import decide
from pancode.work.workflow import rows
from pancode.workflow.plan import IN_ORDER, StepPlan, WorkflowPlan

PARTIAL = "leave out what is refused: --partial"


@dataclass(frozen=True, slots=True)
class BegunWorkflow:
    """The workflow with what the person should know."""

    workflow: Workflow
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadyStep:
    """A step that is to be queued now, with all that this takes; or why it is not."""

    step: StepPlan
    asked: AskedDispatch | None = None
    judged: JudgedDispatch | None = None
    run: str = ""
    taken: SnapshotTaken | None = None
    refused: PancodeError | None = None


def named(error: PancodeError, step: StepPlan, plan: WorkflowPlan) -> PancodeError:
    """The same error, which says whose it is."""
    if len(plan.steps) > 1:
        error.args = (f"step {step.name}: {error}",)
    error.details["step"] = step.name
    return offering_partial(error, plan)


def offering_partial(error: PancodeError, plan: WorkflowPlan) -> PancodeError:
    """A refusal of one of several steps that do without each other says how the others can begin."""
    if isinstance(error, RefusedError) and plan.kind not in IN_ORDER and len(plan.steps) > 1:
        error.fix = "; or ".join(filter(None, (error.fix, PARTIAL)))
    return error


def commit(core: Core, plan: WorkflowPlan, ready: Sequence[ReadyStep]) -> BegunWorkflow:
    """The workflow, all its steps, their runs and holds: in one transaction, or not at all."""
    by_name = {one.step.name: one for one in ready}
    with unit_of_work(core) as work:
        workflow = plan.row(plan.id or rows.new_id(core, work.tx), core.wall_ms())
        work.tx.insert(workflow)
        work.happened(rows.workflow_event(EventKind.WORKFLOW_STARTED, workflow))
        places = workflow.concurrency or len(plan.steps)
        views = core.views(work.tx) if plan.stagger_ms else []
        before = Counter[str]({view.node.name: 0 for view in views if view.asks})
        for number, step in enumerate(plan.steps):
            row = step.row(workflow.id, number)
            one = by_name.get(step.name)
            if one is not None:
                pause = plan.stagger_ms * _starts_before(one, before)
                row = row if pause == 0 else replace(row, begins_ms=workflow.created_ms + pause)
                row = _queued(work, plan, row, one, held=places < 1 or pause > 0)
                places -= row.state is WorkflowStepState.RUNNING
            work.tx.insert(row)
            work.happened(rows.step_event(row))
        rows.ask_to_advance(work, workflow)
        if not core.live.binding.waiting:
            bind_in(work)
    return BegunWorkflow(workflow, _warnings(ready))


def _starts_before(one: ReadyStep, before: Counter[str]) -> int:
    """The agent programs that start earlier on its machine, or where the fewest do; `before` is counted on.

    A command of the user's own takes no time to start, and holds up nobody.
    """
    if one.judged is None or one.judged.resolution.runtime.own:
        return 0
    name = one.judged.resolution.request.node or min(before, key=lambda node: before[node], default="")
    before[name] += 1
    return before[name] - 1


def _queued(work: Work, plan: WorkflowPlan, row: WorkflowStep, one: ReadyStep, held: bool) -> WorkflowStep:
    """The step with its run; refused where its estimate has no room, and that is to be left out."""
    if one.judged is None:
        return _refused_row(work, row, one.refused)
    batch = plan.kind is WorkflowKind.BATCH
    run = run_in(work.core, one.judged.resolution, row, (one.run, one.taken), held=held, batch=batch)
    try:
        if plan.partial:  # what is refused is not to leave half of its story
            decide(work.case(run), admission_of(work, run))
        put_in_queue(work, run, one.judged.verdicts)
    except RefusedError as error:
        if plan.partial:
            return _refused_row(work, row, error)
        raise named(error, one.step, plan) from error
    state = WorkflowStepState.WAITING if held else WorkflowStepState.RUNNING
    started = None if held else work.core.wall_ms()
    return replace(row, state=state, run=run.id, runs=(run.id,), started_ms=started)


def run_in(
    core: Core,
    resolution: Resolution,
    row: WorkflowStep,
    begun: tuple[str, SnapshotTaken | None],
    *,
    held: bool,
    batch: bool,
) -> Run:
    """The run of this step. `begun`: its id, and where it begins.

    What the settings land is each result of a batch; of the others the result of the whole, at its end.
    """
    run = replace(run_of(core, resolution, *begun), workflow=row.workflow, step=row.name)
    run = run if batch else replace(run, land=resolution.request.land)
    if held and run.state is RunState.PENDING:
        run = replace(run, waits=WaitReason.WORKFLOW, reason=rows.HELD)
    return run


def _refused_row(work: Work, row: WorkflowStep, error: PancodeError | None) -> WorkflowStep:
    return replace(row, state=WorkflowStepState.REFUSED, reason=str(error), finished_ms=work.core.wall_ms())


def _warnings(ready: Sequence[ReadyStep]) -> tuple[str, ...]:
    """Each once, however many steps it is about."""
    warnings = (warnings_of(one.judged, one.taken) for one in ready if one.judged is not None)
    return tuple(dict.fromkeys(word for words in warnings for word in words))
