"""Routes of workflows: start, show, stop, resume and repeat them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pancode.interfaces.http.access.rights import DISPATCHES, SEES_ALL, STOPS
from pancode.interfaces.http.access.run_rights import refuse_act
from pancode.interfaces.http.bodies import ReasonBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.cursors import PAGED, Cursors
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.pages import MOST_WORKFLOWS
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.runs.facts import Caller
from pancode.runs.life.conversation import payer_of
from pancode.runs.routes.runs import make_child_request
from pancode.runs.user_environment import Surroundings
from pancode.workflows import answers
from pancode.workflows.actions import (
    caller_of,
    find_starter,
    is_workflow_landing,
    resume_workflow,
    retry_workflow,
    stop_workflow,
)
from pancode.workflows.files.reader import describe_files
from pancode.workflows.files.search import WorkflowPlaces
from pancode.workflows.model import WorkflowPlan
from pancode.workflows.routes.bodies import AgainBody, ResumeBody, WorkflowBody
from pancode.workflows.service import BegunWorkflow, begin_workflow, report_steps
from pancode.workflows.views import get_workflow, list_workflows


@Verb(answers.WORKFLOW_FILES, command="workflow ls", query=("cwd",), right=SEES_ALL)
def _list_files(context: ApiContext, call: ApiCall) -> answers.WorkflowFilesAnswer:
    """List the workflow files that can be named in a folder."""
    places = WorkflowPlaces.seen_from(Path(context.facts["home"]), call.query.get("cwd", "/"))
    return {"files": describe_files(places.all())}


@Verb(answers.WORKFLOWS, command="workflow ls", query=PAGED)
def _list(context: ApiContext, call: ApiCall) -> answers.WorkflowsAnswer:
    """List the newest workflows."""
    cursors, limit = Cursors(call.query, "workflows"), call.number("limit", 20, MOST_WORKFLOWS)
    page = list_workflows(context.core, limit, cursors.after())
    return {"workflows": page.rows, "next": cursors.next(page.last)}


def _make_child_plan(context: ApiContext, parent: Run, plan: WorkflowPlan) -> WorkflowPlan:
    """Return the plan of a workflow requested by a run: each step becomes that run's child."""
    if plan.caller["land"]:
        refuse_act(context.core, parent, "landing a change")
    above = Caller.of(parent)
    preset = plan.caller["preset"] or above.preset or None
    actions = [
        replace(make_child_request(context, parent, step.request), parent=parent.id) for step in plan.steps
    ]
    steps = tuple(replace(step, request=one) for step, one in zip(plan.steps, actions, strict=True))
    settings = {**above.caller_settings, **plan.caller["settings"]}
    return replace(
        plan, by=parent.id, steps=steps, caller={**plan.caller, "settings": settings, "preset": preset}
    )


def _describe_begun(context: ApiContext, begun: BegunWorkflow) -> answers.WorkflowShape:
    return get_workflow(context.core, begun.workflow.id, begun.warnings)


@Verb(answers.BEGIN, WorkflowBody, "workflow chain", pokes=True, status=201, for_runs=True, right=DISPATCHES)
def _begin(
    context: ApiContext, call: ApiCall[WorkflowBody]
) -> answers.WorkflowShape | answers.WorkflowDryRun:
    """Start a workflow; with `dry_run` only preview it."""
    body = call.body
    plan = body.plan() if call.inside is None else _make_child_plan(context, call.inside, body.plan())
    around = context.coordinator.around(plan.caller["settings"], plan.caller["preset"])
    if body.dry_run:
        return cast(
            "answers.WorkflowShape | answers.WorkflowDryRun", report_steps(context.core, around, plan)
        )
    return _describe_begun(context, begin_workflow(context.core, around, plan))


@Verb(answers.WORKFLOW, command="workflow show")
def _show(context: ApiContext, call: ApiCall) -> answers.WorkflowShape:
    """Return a workflow."""
    return get_workflow(context.core, call.path["workflow"])


@Verb(answers.STOP_WORKFLOW, ReasonBody, "stop", pokes=True, right=STOPS)
def _stop(context: ApiContext, call: ApiCall[ReasonBody]) -> answers.WorkflowShape:
    """Stop a workflow's runs and start nothing more."""
    workflow = stop_workflow(context.core, _find_own(context, call), call.body.reason, call.body.by)
    return get_workflow(context.core, workflow.id)


def _find_own(context: ApiContext, call: ApiCall) -> str:
    """Return the workflow, which a run's session must have started. NotFoundError, InsideRunError."""
    text, run = call.path["workflow"], call.inside
    if run is None:
        return text
    workflow, payer = find_starter(context.core, text)
    if payer != payer_of(run):
        refuse_act(context.core, run, f"{answers.STOP_WORKFLOW} for {workflow}, which it did not start")
    return workflow


def around_workflow(context: ApiContext, text: str) -> Surroundings:
    """Return the surroundings with the settings and preset of the workflow that `text` names."""
    caller = caller_of(context.core, text)
    return context.coordinator.around(caller.get("settings") or {}, caller.get("preset"))


def lands_on(context: ApiContext, text: str) -> bool:
    """Whether the workflow lands its change when it continues under its owner's name."""
    return is_workflow_landing(context.core, text, around_workflow(context, text))


@Verb(
    answers.RESUME_WORKFLOW,
    ResumeBody,
    "workflow resume",
    pokes=True,
    right=DISPATCHES,
    lands=lambda context, call: lands_on(context, call.path["workflow"]),
)
def _resume(context: ApiContext, call: ApiCall[ResumeBody]) -> answers.WorkflowShape:
    """Resume a workflow by starting the steps that are not done."""
    core, text, body = context.core, call.path["workflow"], call.body
    around = around_workflow(context, text)
    return get_workflow(core, resume_workflow(core, around, text, body.by, body.yes, body.resolve).id)


@Verb(
    answers.RETRY_WORKFLOW,
    AgainBody,
    "runs retry",
    pokes=True,
    status=201,
    right=DISPATCHES,
    lands=lambda context, call: is_workflow_landing(context.core, call.path["workflow"]),
)
def _retry(context: ApiContext, call: ApiCall[AgainBody]) -> answers.WorkflowShape:
    """Repeat a whole workflow."""
    text, body = call.path["workflow"], call.body
    return _describe_begun(
        context, retry_workflow(context.core, around_workflow(context, text), text, body.by, body.yes)
    )
