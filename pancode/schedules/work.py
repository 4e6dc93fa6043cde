"""What a schedule starts, as plain JSON in its row and as the request of each firing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pancode.kernel.values import replace
from pancode.kernel.visitors import OF, Confined, token_behind
from pancode.runs.request import DispatchRequest, dump_request, request_from
from pancode.schedules.records import Schedule
from pancode.workflows.model import StepPlan, WorkflowPlan
from pancode.workflows.records import WorkflowKind

BY = "schedule:"
"""The prefix of a schedule's name in the field that records who dispatched a run."""
RUN_PLACE = "$RUN"
"""The placeholder in a task for the id of the event's run."""


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """A dispatch or a workflow, with the caller's own settings and preset."""

    request: DispatchRequest | None = None
    plan: WorkflowPlan | None = None
    caller: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        if self.plan is not None:
            return {"kind": "workflow", "caller": dict(self.caller), "plan": _plan_row(self.plan)}
        assert self.request is not None
        return {"kind": "run", "caller": dict(self.caller), "request": dump_request(self.request)}

    @property
    def requests(self) -> tuple[DispatchRequest, ...]:
        """Return the requests for all runs of the work."""
        steps = () if self.plan is None else self.plan.steps
        return (*(() if self.request is None else (self.request,)), *(step.request for step in steps))

    @property
    def lands(self) -> bool:
        """Whether the work lands its change."""
        return bool(self.caller.get("land")) or any(one.land for one in self.requests)

    def confined(self, limits: Confined) -> PlannedWork:
        """Return the work with these limits for all its runs."""
        if self.plan is None:
            return (
                self
                if self.request is None
                else replace(self, request=replace(self.request, confined=limits))
            )
        steps = (replace(one, request=replace(one.request, confined=limits)) for one in self.plan.steps)
        return replace(self, plan=replace(self.plan, steps=tuple(steps)))

    def words(self) -> str:
        """Return the work as a table shows it: the task, or the workflow's name."""
        if self.plan is not None:
            return f"{self.plan.kind} {self.plan.name}" + (f": {self.plan.input}" if self.plan.input else "")
        assert self.request is not None
        return self.request.task if self.request.argv is None else " ".join(self.request.argv)

    def about(self, run: str) -> PlannedWork:
        """Return the work with this run for `$RUN`."""
        if self.plan is not None:
            return replace(self, plan=replace(self.plan, input=self.plan.input.replace(RUN_PLACE, run)))
        assert self.request is not None
        return replace(self, request=replace(self.request, task=self.request.task.replace(RUN_PLACE, run)))


def work_of(schedule: Schedule) -> PlannedWork:
    """Return the schedule's work, recorded as dispatched by it, and by the token that created it."""
    row: Mapping[str, Any] = schedule.work
    by = f"{BY}{schedule.name}"
    if token_behind(schedule.created_by) is not None:
        by += f"{OF}{schedule.created_by}"
    if row["kind"] == "run":
        return PlannedWork(request=request_from(row["request"], by), caller=row["caller"])
    return PlannedWork(plan=_plan_from(row["plan"], by, row["caller"]), caller=row["caller"])


def is_confined(row: Mapping[str, Any]) -> bool:
    """Whether the stored work limits its runs; an earlier version stored no limits."""
    requests = [row["request"]] if row["kind"] == "run" else [one["request"] for one in row["plan"]["steps"]]
    return any(one.get("confined") for one in requests)


def _plan_row(plan: WorkflowPlan) -> dict[str, object]:
    steps = [
        {
            "name": step.name,
            "request": dump_request(step.request),
            "needs": list(step.needs),
            "files": list(step.files),
            "until": dict(step.until),
            "most": step.most,
            "verdict": dict(step.verdict),
            "back_to": step.back_to,
        }
        for step in plan.steps
    ]
    return {
        "kind": plan.kind.value,
        "name": plan.name,
        "input": plan.input,
        "cwd": plan.cwd,
        "steps": steps,
        "concurrency": plan.concurrency,
        "stagger_ms": plan.stagger_ms,
        "fail_fast": plan.fail_fast,
        "partial": plan.partial,
        "budget": None if plan.budget is None else f"{plan.budget:f}",
        "race": dict(plan.race),
    }


def _plan_from(row: Mapping[str, Any], by: str, caller: Mapping[str, Any]) -> WorkflowPlan:
    budget = row["budget"]
    steps = tuple(
        StepPlan(
            **{**step, "needs": tuple(step["needs"]), "files": tuple(step["files"])}
            | {"request": request_from(step["request"], by)}
        )
        for step in row["steps"]
    )
    known = {**row, "kind": WorkflowKind(row["kind"]), "steps": steps}
    known["budget"] = None if budget is None else Decimal(budget)
    return WorkflowPlan(**known, by=by, caller=caller)
