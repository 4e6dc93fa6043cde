"""Routes of workflows: begin, look, stop, go on, once more."""

from __future__ import annotations

from typing import Any

from pancode.access.rights import DISPATCHES, DROPS
from pancode.api.asking.pages import PAGED, Cursors
from pancode.api.context import ApiContext
from pancode.api.document.answers import Object, VerdictShape, WorkflowDryRun, WorkflowsAnswer, WorkflowShape
from pancode.api.request.bodies import ReasonBody
from pancode.api.request.workflow_bodies import AgainBody, ResumeBody, WorkflowBody
from pancode.api.routing import ApiCall, Verb
from pancode.api.run_routes import around_workflow
from pancode.control.faces import MOST_WORKFLOWS


def _begin(context: ApiContext, call: ApiCall) -> Any:
    body: WorkflowBody = call.body
    callers: dict[str, object] = dict(body.settings.items())
    around = context.coordinator.around(callers, body.preset)
    verbs = context.plane.workflows
    return verbs.dry_run(around, body.plan()) if body.dry_run else verbs.begin(around, body.plan())


def _list(context: ApiContext, call: ApiCall) -> Any:
    cursors, limit = Cursors(call.query, "workflows"), call.number("limit", 20, MOST_WORKFLOWS)
    page = context.plane.workflows.newest(limit, cursors.after())
    return {"workflows": page.rows, "next": cursors.next(page.last)}


def _show(context: ApiContext, call: ApiCall) -> Any:
    return context.plane.workflows.show(call.path["workflow"])


def _stop(context: ApiContext, call: ApiCall) -> Any:
    body: ReasonBody = call.body
    return context.plane.workflows.stop(call.path["workflow"], body.reason, body.by)


def _resume(context: ApiContext, call: ApiCall) -> Any:
    text, body = call.path["workflow"], call.body
    return context.plane.workflows.resume(
        around_workflow(context, text), text, body.by, body.yes, body.resolve
    )


def _receipt(context: ApiContext, call: ApiCall) -> Any:
    return context.plane.workflows.receipt(call.path["workflow"])


def _board(context: ApiContext, call: ApiCall) -> Any:
    return {"board": context.plane.workflows.board(call.path["workflow"])}


def _verify(context: ApiContext, call: ApiCall) -> Any:
    return context.plane.workflows.verify(call.path["workflow"], context.coordinator.streams)


def _retry(context: ApiContext, call: ApiCall) -> Any:
    text, body = call.path["workflow"], call.body
    return context.plane.workflows.retry(around_workflow(context, text), text, body.by, body.yes)


def _lands(context: ApiContext, call: ApiCall) -> bool:
    return context.plane.workflows.lands(call.path["workflow"])


def _lands_on(context: ApiContext, call: ApiCall) -> bool:
    text = call.path["workflow"]
    return context.plane.workflows.lands(text, around_workflow(context, text))


WORKFLOW_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/workflows", _list, query=PAGED, answers=WorkflowsAnswer),
    Verb(
        "POST",
        "/v1/workflows",
        _begin,
        WorkflowBody,
        pokes=True,
        status=201,
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
)
