"""Judges the steps of a workflow before any of them begins, as far as they are known then."""

from __future__ import annotations

from collections.abc import Collection

from pancode.agents.request import DispatchRequest
from pancode.control.core import Core, decided
from pancode.control.surroundings import Surroundings
from pancode.core.land_rule import LandRule
from pancode.core.values import replace
from pancode.dispatch.admission.agent import NEVER_FIX, NEVER_LANDS
from pancode.dispatch.admission.safety import BREAKER_OPEN
from pancode.dispatch.dispatch import JudgedDispatch, ask, passed
from pancode.errors import PancodeError, RefusedError
from pancode.work.workflow.committing import ReadyStep, named
from pancode.workflow.handing import check_script
from pancode.workflow.plan import IN_ORDER, StepPlan, WorkflowPlan
from pancode.workflow.template import first_task


def request_of(plan: WorkflowPlan, step: StepPlan) -> DispatchRequest:
    """The dispatch of a step as far as it is known at the beginning."""
    request = replace(step.request, created_by=plan.by, cwd=plan.cwd)
    if step.needs or plan.kind not in IN_ORDER:
        return request
    return replace(request, task=first_task(request.task, plan.input))


def judge_again(core: Core, around: Surroundings, plan: WorkflowPlan, names: Collection[str]) -> None:
    """Judge these steps of a workflow that is to go on. PancodeError names the step."""
    for step in plan.steps:
        if step.name in names:
            judged_step(core, around, replace(plan, partial=False), step)


def judged_step(core: Core, around: Surroundings, plan: WorkflowPlan, step: StepPlan) -> ReadyStep:
    """Judged by the ten gates. PancodeError names the step; with `partial` the refusal is kept."""
    try:
        asked = ask(core, around, request_of(plan, step), None)
        judged = decided(core.lists, core.lock, lambda: passed(core, around, asked))
        check_later(plan, step, judged)
    except PancodeError as error:
        if step.needs and error.code == BREAKER_OPEN:
            return ReadyStep(step)  # it is judged again when it begins, and waits for the breaker then
        return refused(plan, step, error)
    return ReadyStep(step, asked, judged)


def check_later(plan: WorkflowPlan, step: StepPlan, judged: JudgedDispatch) -> None:
    """RefusedError for what cannot be filled in, by the program that would run it; for what may not land."""
    if plan.caller.get("land") and judged.resolution.land is LandRule.NEVER:
        raise RefusedError(f"Workflow blocked: {NEVER_LANDS}", fix=NEVER_FIX, code="never_lands")
    if plan.kind in IN_ORDER and judged.resolution.runtime.name == "shell":
        check_script(step.name, step.request.task, step.needs)


def refused(plan: WorkflowPlan, step: StepPlan, error: PancodeError) -> ReadyStep:
    """Left out where that is wanted; else it is the refusal of all."""
    if plan.partial:
        return ReadyStep(step, refused=error)
    raise named(error, step, plan)
