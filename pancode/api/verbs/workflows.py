"""Verbs of workflows: begin, list, show, stop, resume, retry."""

from __future__ import annotations

from decimal import Decimal

from pancode.control.core import Core
from pancode.control.faces import Json, ListPage, ListPlace, Streams, Surroundings
from pancode.control.shapes import VerdictShape, WorkflowShape
from pancode.dispatch.admission.budget import NAME as BUDGET
from pancode.dispatch.dispatch import JudgedDispatch
from pancode.errors import PancodeError
from pancode.runs.report import report
from pancode.work.workflow import asked, workflow_receipts, workflows
from pancode.work.workflow.agreeing import dry_objection
from pancode.work.workflow.begin import begin, plan_dry, refused_holds
from pancode.work.workflow.committing import PARTIAL
from pancode.workflow.plan import IN_ORDER, StepPlan, WorkflowPlan


class WorkflowVerbs:
    """`text` names a workflow: its id, the beginning of it, or `last`. NotFoundError for any other."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def begin(self, around: Surroundings, plan: WorkflowPlan) -> WorkflowShape:
        """Judge the steps that need no other and queue all of them, or none. RefusedError, UsageError."""
        begun = begin(self._core, around, plan)
        return workflows.show(self._core, begun.workflow.id, begun.warnings)

    def dry_run(self, around: Surroundings, plan: WorkflowPlan) -> Json:
        """The reports of all steps; those that need others are judged again when they begin.

        The estimates of those that begin at once are held as they would be, one after the other.
        """
        judged = plan_dry(self._core, around, plan)
        refused = refused_holds(self._core, plan, judged)
        steps = [_planned(step, one, refused.get(step.name)) for step, one in judged]
        found = [bool(step["admitted"]) for step in steps]
        why = "; ".join(f"step {name}: {error}" for name, error in list(refused.items())[:1])
        fix = "" if plan.partial or plan.kind in IN_ORDER or all(found) else PARTIAL
        answer = {"dry_run": True, "admitted": (any if plan.partial else all)(found), "steps": steps}
        asks = dry_objection(self._core, plan, judged)
        if asks is not None:
            answer["admitted"], why, fix = False, f"{asks}: {asks.why}", asks.fix
        total = sum((one.resolution.due.usd for _, one in judged), Decimal(0))
        return {**answer, "reason": why, "fix": fix, "estimate_usd": f"{total:f}"}

    def stop(self, text: str, reason: str, by: str) -> WorkflowShape:
        """Stop its runs and begin nothing more."""
        return self.show(asked.stop(self._core, text, reason, by).id)

    def resume(
        self, around: Surroundings, text: str, by: str, yes: bool = False, resolve: bool = False
    ) -> WorkflowShape:
        """Go on with the steps that are not done; `resolve`: with steps that settle the conflicts of others.

        UsageError where there is nothing to do; RefusedError names a step.
        """
        return self.show(asked.resume(self._core, around, text, by, yes, resolve).id)

    def retry(self, around: Surroundings, text: str, by: str, yes: bool = False) -> WorkflowShape:
        """Begin all of it anew, as another workflow."""
        begun = asked.retry(self._core, around, text, by, yes)
        return workflows.show(self._core, begun.workflow.id, begun.warnings)

    def lands(self, text: str, around: Surroundings | None = None) -> bool:
        """Whether a step of it lands its change; `around`: by its owner's settings, too."""
        return asked.lands(self._core, text, around)

    def receipt(self, text: str) -> Json:
        """The signed summary of an ended workflow, with the verdict on it. NotFoundError before its end."""
        return workflow_receipts.receipt(self._core, text)

    def board(self, text: str) -> list[Json]:
        """The values that its workers share, by name."""
        return workflows.board(self._core, text)

    def verify(self, text: str, streams: Streams) -> VerdictShape:
        """Judge the receipt of a workflow with the receipts of its runs. NotFoundError."""
        return workflow_receipts.verify(self._core, text, streams)

    def caller(self, text: str) -> Json:
        """The settings and the preset with which it was begun."""
        return asked.caller_of(self._core, text)

    def newest(self, limit: int, after: ListPlace | None = None) -> ListPage[WorkflowShape]:
        """The newest workflows from that place on, newest first."""
        return workflows.workflows(self._core, limit, after)

    def show(self, text: str) -> WorkflowShape:
        """A workflow with its steps and its cost."""
        return workflows.show(self._core, text)


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
