"""Routes of workflows: begin, look, stop, go on, once more."""

from __future__ import annotations

from typing import Any

from pancode.access.rights import DISPATCHES, DROPS
from pancode.access.run_rights import refuse
from pancode.api.context import ApiContext
from pancode.api.document.answers import Object, VerdictShape, WorkflowDryRun, WorkflowsAnswer, WorkflowShape
from pancode.api.lane_routes import LANE_VERBS
from pancode.api.pages import PAGED, Cursors
from pancode.api.request.bodies import ReasonBody
from pancode.api.request.workflow_bodies import AgainBody, ResumeBody, WorkflowBody
from pancode.api.routing import ApiCall, Verb
from pancode.api.run_routes import around_workflow, childs
from pancode.control.paging import MOST_WORKFLOWS
from pancode.core.records import Run
from pancode.core.values import replace
from pancode.work.workflow.asked import lands, resume, retry, stop
from pancode.work.workflow.begin import begin
from pancode.work.workflow.committing import BegunWorkflow
from pancode.work.workflow.dry_run import reports
from pancode.work.workflow.workflow_receipts import receipt, verify
from pancode.work.workflow.workflows import board, show, workflows
from pancode.workflow.plan import WorkflowPlan


def _begin(context: ApiContext, call: ApiCall) -> Any:
    body: WorkflowBody = call.body
    plan = body.plan() if call.inside is None else _childs(context, call.inside, body.plan())
    callers: dict[str, object] = dict(body.settings.items())
    around = context.coordinator.around(callers, plan.caller["preset"])
    if body.dry_run:
        return reports(context.core, around, plan)
    return _begun(context, begin(context.core, around, plan))


def _childs(context: ApiContext, parent: Run, plan: WorkflowPlan) -> WorkflowPlan:
    """From inside a run: each of its steps is that run's child, whenever it begins."""
    if plan.caller["land"]:
        refuse(context.core, parent, "to land a change")
    preset = plan.caller["preset"] or parent.terms.get("preset")
    asked = [replace(childs(context, parent, step.request), parent=parent.id) for step in plan.steps]
    steps = tuple(replace(step, request=one) for step, one in zip(plan.steps, asked, strict=True))
    return replace(plan, by=parent.id, steps=steps, caller={**plan.caller, "preset": preset})


def _begun(context: ApiContext, begun: BegunWorkflow) -> Any:
    return show(context.core, begun.workflow.id, begun.warnings)


def _list(context: ApiContext, call: ApiCall) -> Any:
    cursors, limit = Cursors(call.query, "workflows"), call.number("limit", 20, MOST_WORKFLOWS)
    page = workflows(context.core, limit, cursors.after())
    return {"workflows": page.rows, "next": cursors.next(page.last)}


def _show(context: ApiContext, call: ApiCall) -> Any:
    return show(context.core, call.path["workflow"])


def _stop(context: ApiContext, call: ApiCall) -> Any:
    body: ReasonBody = call.body
    return show(context.core, stop(context.core, call.path["workflow"], body.reason, body.by).id)


def _resume(context: ApiContext, call: ApiCall) -> Any:
    core, text, body = context.core, call.path["workflow"], call.body
    around = around_workflow(context, text)
    return show(core, resume(core, around, text, body.by, body.yes, body.resolve).id)


def _receipt(context: ApiContext, call: ApiCall) -> Any:
    return receipt(context.core, call.path["workflow"])


def _board(context: ApiContext, call: ApiCall) -> Any:
    return {"board": board(context.core, call.path["workflow"])}


def _verify(context: ApiContext, call: ApiCall) -> Any:
    return verify(context.core, call.path["workflow"], context.coordinator.streams)


def _retry(context: ApiContext, call: ApiCall) -> Any:
    text, body = call.path["workflow"], call.body
    return _begun(context, retry(context.core, around_workflow(context, text), text, body.by, body.yes))


def _lands(context: ApiContext, call: ApiCall) -> bool:
    return lands(context.core, call.path["workflow"])


def _lands_on(context: ApiContext, call: ApiCall) -> bool:
    text = call.path["workflow"]
    return lands(context.core, text, around_workflow(context, text))


WORKFLOW_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/workflows", _list, query=PAGED, answers=WorkflowsAnswer),
    Verb(
        "POST",
        "/v1/workflows",
        _begin,
        WorkflowBody,
        pokes=True,
        status=201,
        for_runs=True,
        right=DISPATCHES,
        answers=WorkflowShape | WorkflowDryRun,
    ),
    Verb("GET", "/v1/workflows/{workflow}", _show, answers=WorkflowShape),
    Verb("GET", "/v1/workflows/{workflow}/receipt", _receipt, answers=Object),
    Verb("GET", "/v1/workflows/{workflow}/board", _board, answers=Object),
    Verb("GET", "/v1/workflows/{workflow}/verify", _verify, answers=VerdictShape),
    Verb(
        "POST",
        "/v1/workflows/{workflow}/stop",
        _stop,
        ReasonBody,
        pokes=True,
        right=DROPS,
        answers=WorkflowShape,
    ),
    Verb(
        "POST",
        "/v1/workflows/{workflow}/resume",
        _resume,
        ResumeBody,
        pokes=True,
        right=DISPATCHES,
        lands=_lands_on,
        answers=WorkflowShape,
    ),
    Verb(
        "POST",
        "/v1/workflows/{workflow}/retry",
        _retry,
        AgainBody,
        pokes=True,
        status=201,
        right=DISPATCHES,
        lands=_lands,
        answers=WorkflowShape,
    ),
    *LANE_VERBS,
)
