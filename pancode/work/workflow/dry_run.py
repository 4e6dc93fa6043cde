"""Judges a workflow as it would begin now, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal

from pancode.control.core import Core
from pancode.control.shapes import Json
from pancode.control.surroundings import Surroundings
from pancode.control.work import unit_of_work
from pancode.dispatch.admission.budget import NAME as BUDGET
from pancode.dispatch.dispatch import JudgedDispatch, admit, dry_run, new_id_in
from pancode.dispatch.report import report
from pancode.errors import PancodeError, RefusedError
from pancode.work.workflow import rows
from pancode.work.workflow.agreeing import dry_objection
from pancode.work.workflow.committing import PARTIAL, named, offering_partial, run_in
from pancode.work.workflow.judging import check_later, request_of
from pancode.workflow.plan import IN_ORDER, StepPlan, WorkflowPlan, check


def reports(core: Core, around: Surroundings, plan: WorkflowPlan) -> Json:
    """The reports of all steps; those that need others are judged again when they begin.

    The estimates of those that begin at once are held as they would be, one after the other.
    """
    judged = plan_dry(core, around, plan)
    refused = refused_holds(core, plan, judged)
    steps = [_planned(step, one, refused.get(step.name)) for step, one in judged]
    found = [bool(step["admitted"]) for step in steps]
    why = "; ".join(f"step {name}: {error}" for name, error in list(refused.items())[:1])
    fix = "" if plan.partial or plan.kind in IN_ORDER or all(found) else PARTIAL
    answer = {"dry_run": True, "admitted": (any if plan.partial else all)(found), "steps": steps}
    asks = dry_objection(core, plan, judged)
    if asks is not None:
        answer["admitted"], why, fix = False, f"{asks}: {asks.why}", asks.fix
    total = sum((one.resolution.due.usd for _, one in judged), Decimal(0))
    return {**answer, "reason": why, "fix": fix, "estimate_usd": f"{total:f}"}


def _planned(step: StepPlan, judged: JudgedDispatch, refused: PancodeError | None) -> Json:
    """The report of one step of a dry run; `refused`: its estimate has no room after those before it."""
    request = step.request
    task = request.task if request.argv is None else " ".join(request.argv)
    row: Json = {"name": step.name, "needs": list(step.needs), "task": task, "node": request.node}
    row |= report(judged)
    if step.needs:
        row["later"] = f"its task and files are known when {', '.join(step.needs)} is done"
    if refused is not None:
        gate = {"passed": False, "warning": False, "words": str(refused), "fix": refused.fix}
        row["gates"] = [{**one, **gate} if one["gate"] == BUDGET else one for one in row["gates"]]
        row["admitted"] = False
    return row


def plan_dry(core: Core, around: Surroundings, plan: WorkflowPlan) -> list[tuple[StepPlan, JudgedDispatch]]:
    """What each step's dispatch would be now, nothing changed. PancodeError for what cannot be resolved."""
    check(plan)
    judged = []
    for step in plan.steps:
        try:
            one = dry_run(core, around, request_of(plan, step))
            check_later(plan, step, one)
            judged.append((step, one))
        except PancodeError as error:
            raise named(error, step, plan) from error
    return judged


def refused_holds(
    core: Core, plan: WorkflowPlan, judged: Sequence[tuple[StepPlan, JudgedDispatch]]
) -> dict[str, PancodeError]:
    """By step, the ceiling that its estimate would exceed, when the steps before it are held.

    It admits the steps that begin at once, in a transaction that is rolled back.
    """
    refused: dict[str, PancodeError] = {}
    with suppress(_NotKept), unit_of_work(core) as work:
        workflow = plan.row(rows.new_id(core, work.tx), core.wall_ms())
        work.tx.insert(workflow)
        for number, (step, one) in enumerate(judged):
            if step.needs or not all(verdict.passed for verdict in one.verdicts):
                continue
            row, run = step.row(workflow.id, number), new_id_in(core, work.tx)
            try:
                admit(work, run_in(core, one.resolution, row, (run, None), held=False, batch=True))
            except RefusedError as error:
                refused[step.name] = offering_partial(error, plan)
        raise _NotKept
    return refused


class _NotKept(Exception):
    """Rolls the transaction back."""
