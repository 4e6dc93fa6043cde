"""Holds a workflow file of a project behind a sandbox until a person has said yes to its content."""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.wire.policy import Isolation
from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.records import Setting
from pancode.core.values import replace
from pancode.dispatch.dispatch import JudgedDispatch
from pancode.dispatch.resolve import Resolution
from pancode.errors import RefusedError
from pancode.workflow.plan import StepPlan, WorkflowPlan
from pancode.workflow.project_file import SETTING, needs_yes, reasons_to_ask


def held(core: Core, plan: WorkflowPlan) -> WorkflowPlan:
    """The plan as it may begin: where nobody has said yes to its file, all its steps run in a sandbox or not.

    A yes that comes with it is put down: for this content nobody is asked again. RefusedError: `needs_yes`.
    """
    file = plan.file
    if file is None or is_agreed(core, plan):
        return plan
    if all(step.request.confirmed and step.request.depth == 0 for step in plan.steps):  # of no run
        with unit_of_work(core) as work:
            work.tx.put(Setting(f"{SETTING}{file.digest}", file.place, core.wall_ms(), plan.by))
            agreed = {"file": file.place, "digest": file.digest, "by": plan.by}
            work.audit("trust", "info", "yes to a workflow file", None, **agreed)
        return plan
    error = objection(plan)
    if error is not None:
        raise error
    steps = (replace(step, request=replace(step.request, walled=True)) for step in plan.steps)
    return replace(plan, steps=tuple(steps))


def dry_objection(
    core: Core, plan: WorkflowPlan, judged: Sequence[tuple[StepPlan, JudgedDispatch]]
) -> RefusedError | None:
    """The refusal that `held` or the judging of the steps would meet now; nothing is put down."""
    if plan.file is None or all(step.request.confirmed for step in plan.steps) or is_agreed(core, plan):
        return None
    outside = next((step.name for step, one in judged if _is_outside(one.resolution)), None)
    why = f"step {outside} would run outside of a sandbox"
    return objection(plan) or (None if outside is None else needs_yes(plan.file, why))


def objection(plan: WorkflowPlan) -> RefusedError | None:
    """The refusal that a yes would lift, as far as it is known before its steps are judged."""
    if plan.file is None:
        return None
    bare = (step.name for step in plan.steps if step.request.workspace == "none")
    reasons = reasons_to_ask(plan.file, bare)
    return needs_yes(plan.file, "; ".join(reasons)) if reasons else None


def is_agreed(core: Core, plan: WorkflowPlan) -> bool:
    """Whether nothing is to be asked: it comes from no file, or a person has said yes to this content."""
    if plan.file is None:
        return True
    with core.ports.ledger.transaction() as tx:
        return tx.get(Setting, f"{SETTING}{plan.file.digest}") is not None


def _is_outside(resolution: Resolution) -> bool:
    """Whether it would run, and every machine that could take it has no sandbox."""
    fitting = [one for one in resolution.candidates if one.fits]
    return bool(fitting) and all(one.isolation is not Isolation.SANDBOX for one in fitting)
