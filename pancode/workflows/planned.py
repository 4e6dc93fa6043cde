"""A workflow that begins later, as plain JSON and as what the engine may ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, ClassVar

from pancode.kernel.ports import Transaction
from pancode.kernel.values import replace, take_shared
from pancode.runs.admission.plan import Plan
from pancode.runs.core import Core
from pancode.runs.request import DispatchRequest, request_from
from pancode.runs.user_environment import Surroundings
from pancode.workflows import store as rows
from pancode.workflows.model import StepPlan, WorkflowPlan
from pancode.workflows.records import WorkflowKind
from pancode.workflows.service import begin_workflow, plan_dry, restrict_plan

_LEFT_OUT = ("by", "caller", "retry_of", "file", "id")
"""The fields of a plan that are set when the workflow begins."""


@dataclass(frozen=True, slots=True)
class PlannedWorkflow:
    """Implements pancode.runs.begun_later.LaterWork."""

    kind: ClassVar[str] = "workflow"
    plan: WorkflowPlan

    @property
    def requests(self) -> tuple[DispatchRequest, ...]:
        return tuple(step.request for step in self.plan.steps)

    def row(self) -> dict[str, object]:
        plan = self.plan
        known = {one.name: getattr(plan, one.name) for one in fields(plan) if one.name not in _LEFT_OUT}
        budget = None if plan.budget is None else f"{plan.budget:f}"
        made = (step.row("", number) for number, step in enumerate(plan.steps))
        steps = [take_shared(row, StepPlan) for row in made]
        return {**known, "kind": plan.kind.value, "steps": steps, "budget": budget, "race": dict(plan.race)}

    def words(self) -> str:
        plan = self.plan
        return f"{plan.kind} {plan.name}" + (f": {plan.input}" if plan.input else "")

    def about(self, place: str, text: str) -> PlannedWorkflow:
        return PlannedWorkflow(replace(self.plan, input=self.plan.input.replace(place, text)))

    def restrict(self, core: Core) -> PlannedWorkflow:
        return PlannedWorkflow(restrict_plan(core, self.plan))

    def judge(self, core: Core, around: Surroundings) -> list[Plan]:
        return [one for _, one in plan_dry(core, around, self.plan)]

    def new_id(self, core: Core, tx: Transaction) -> str:
        return rows.new_id(core, tx)

    def begin(self, core: Core, around: Surroundings, name: str | None) -> None:
        begin_workflow(core, around, replace(self.plan, id=name))


def read_planned(row: Mapping[str, Any], by: str, caller: Mapping[str, Any]) -> PlannedWorkflow:
    """Return the workflow that `PlannedWorkflow.row` has stored, as requested by `by`."""
    kind, budget = WorkflowKind(row["kind"]), None if row["budget"] is None else Decimal(row["budget"])
    steps = tuple(
        StepPlan(
            **{**step, "needs": tuple(step["needs"]), "files": tuple(step["files"])}
            | {"request": request_from(step["request"], by)}
        )
        for step in row["steps"]
    )
    known = dict(row) | {"kind": kind, "steps": steps, "budget": budget}
    return PlannedWorkflow(WorkflowPlan(**known, by=by, caller=caller))
