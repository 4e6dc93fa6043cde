"""A requested workflow reaches its plan, its rows and a schedule whole: no field is lost on its way."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from pancode.interfaces.http.bodies import parse_body
from pancode.kernel.values import replace
from pancode.workflows.model import plan_of
from pancode.workflows.planned import PlannedWorkflow, read_planned
from pancode.workflows.records import WorkflowKind
from pancode.workflows.routes.bodies import WorkflowBody

UNTIL = {"field": "verdict", "equals": "approved"}
VERDICT = {"file": "v.json", "schema": {"verdict": ["approved", "rejected"]}}
STEP = {"name": "b", "needs": ["a"], "files": ["out.md"], "until": UNTIL, "verdict": VERDICT, "max": 3}
BODY: dict[str, Any] = {
    **{"kind": "race", "name": "nightly", "by": "ana", "input": "the API", "cwd": "/src/shop"},
    **{"concurrency": 2, "stagger_ms": 5, "fail_fast": True, "partial": True, "budget": "2.50"},
    **{"race": {"by": "score", "score": "./bench.sh"}, "settings": {"dispatch.safety": "full-auto"}},
    **{"preset": "cheap", "land": True},
    "steps": [{"name": "a", "task": "one"}, {**STEP, "task": "two", "back-to": "a", "agent": "fixer"}],
}
STORED = {
    **{"kind": "race", "name": "nightly", "input": "the API", "cwd": "/src/shop", "concurrency": 2},
    **{"stagger_ms": 5, "fail_fast": True, "partial": True, "budget": "2.50"},
    "race": {"by": "score", "score": "./bench.sh"},
    "steps": [
        {
            **{"name": "a", "request": {"task": "one", "score": "./bench.sh"}, "needs": [], "files": []},
            **{"until": {}, "most": 1, "verdict": {}, "back_to": None},
        },
        {
            **{"name": "b", "request": {"agent": "fixer", "task": "two", "score": "./bench.sh"}},
            **{"needs": ["a"], "files": ["out.md"], "until": UNTIL, "most": 3, "verdict": VERDICT},
            "back_to": "a",
        },
    ],
}
"""As an earlier version has stored it in a schedule."""
CALLER = {"settings": {"dispatch.safety": "full-auto"}, "preset": "cheap", "land": True}


def test_a_plan_has_what_was_requested() -> None:
    plan = parse_body(WorkflowBody, BODY).plan()
    assert (plan.kind, plan.name, plan.by, plan.input, plan.cwd) == (
        *(WorkflowKind.RACE, "nightly", "ana", "the API"),
        "/src/shop",
    )
    assert (plan.concurrency, plan.stagger_ms, plan.fail_fast, plan.partial) == (2, 5, True, True)
    assert (plan.budget, plan.race, plan.caller) == (Decimal("2.50"), BODY["race"], CALLER)


def test_its_rows_give_the_same_plan_again() -> None:
    plan = replace(parse_body(WorkflowBody, BODY).plan(), kind=WorkflowKind.GRAPH, partial=False)
    steps = [step.row("w-1", number) for number, step in enumerate(plan.steps)]
    assert [(one.workflow, one.number) for one in steps] == [("w-1", 0), ("w-1", 1)]
    row = plan.row("w-1", 7)
    assert (row.id, row.created_ms, row.created_by) == ("w-1", 7, "ana")
    assert plan_of(row, steps, "ana") == replace(plan, retry_of="w-1")


def test_a_schedule_of_an_earlier_version_begins_the_same_plan() -> None:
    plan = parse_body(WorkflowBody, BODY).plan()
    assert json.loads(json.dumps(PlannedWorkflow(plan).row())) == STORED
    assert read_planned(STORED, "ana", CALLER).plan == plan
