"""API routes for issues in trackers: list them, have an agent work on one, and plan the work."""

from __future__ import annotations

from functools import partial
from typing import Annotated, cast

from pydantic import Field

from pancode.interfaces.http.access.rights import APPROVES, DISPATCHES
from pancode.interfaces.http.bodies import ActBody, CallerSettings, Name, Usd
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.issues import answers
from pancode.issues.hooks import IssueTracking
from pancode.issues.kept_plans import record_plan
from pancode.issues.model import Issue, place_of, shorten_text
from pancode.issues.plans import MOST_QUESTIONS, ensure_workspace, newest_plan, request_keeping
from pancode.issues.service import fetch_issue, find_newest_run, list_work, make_request, start_work
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import UsageError
from pancode.kernel.visitors import AccessScope, must_have
from pancode.runs.answers import WORK_RUN, QueuedAnswer, RunShape
from pancode.runs.dispatch import describe_queued, dispatch_run
from pancode.runs.project_rules import NamedProject, find_project, project_among
from pancode.runs.request import request_from
from pancode.runs.routes.runs import report_dry_run
from pancode.runs.views import get_run_shape

MOST = 200
MOST_WORK = 20_000
"""The maximum number of characters of a task to plan."""


class WorkOnIssueBody(ActBody, CallerSettings):
    """An issue to work on in a separate workspace. Omitted fields get the project's values."""

    issue: Annotated[str, Field(max_length=64)]
    """The issue's reference, such as SHOP-12."""
    agent: Name | None = None
    model: Name | None = None
    runtime: Name | None = None
    node: Name | None = None
    budget: Usd | None = None
    dry_run: bool = False
    yes: bool = False
    """Whether a user has approved this dispatch."""


class PlanBody(ActBody):
    """A request to plan work. `what`: an issue, a plan's name, or the task as text. `goes_on`: continue the
    plan that is in the repository around `cwd`."""

    what: Annotated[str, Field(min_length=1, max_length=MOST_WORK)]
    cwd: Annotated[str, Field(max_length=4_096)] | None = None
    node: Name | None = None
    goes_on: bool = False


class KeepPlanBody(ActBody):
    """A request to keep a plan. `questions`: the conversation that led to the plan, as Markdown."""

    questions: Annotated[str, Field(max_length=MOST_QUESTIONS)] = ""


@Verb(answers.ISSUES, command="issue ls", query=("project", "cwd"))
def _issues(context: ApiContext, call: ApiCall) -> answers.IssuesAnswer:
    """List the open issues of a project, from its tracker."""
    project = _find_project(context, call)
    found = context.coordinator.part(IssueTracking).trackers.issues(place_of(project), project.prefix, MOST)
    return {"project": project.name, "issues": [_shape(one) for one in found]}


def _find_project(context: ApiContext, call: ApiCall) -> NamedProject:
    """Return the named project, or that of the repository around the user's folder. UsageError if none."""
    around = context.coordinator.around({})
    if named := call.query.get("project"):
        return find_project(around.projects(), named)
    top = context.project_of(call.query.get("cwd"))
    here = None if top is None else project_among(around.projects().values(), top, around.address_of)
    if here is None:
        fix = (
            "use --project NAME (see pancode project ls), or: pancode project add . --tracker "
            "github:OWNER/REPO"
        )
        raise UsageError("this directory does not belong to a project", fix=fix, code="no_project")
    return here


@Verb(answers.ISSUE, command="issue show")
def _issue(context: ApiContext, call: ApiCall) -> answers.IssueAnswer:
    """Show one issue, from its tracker."""
    around = context.coordinator.around({})
    project, issue = fetch_issue(around, context.coordinator.part(IssueTracking).trackers, call.path["issue"])
    return {**_shape(issue), "project": project.name, "text": shorten_text(issue.text)}


def _shape(one: Issue) -> answers.IssueShape:
    return make_answer(answers.IssueShape, one, issue=one.ref)


@Verb(answers.WORKS, command="issue ls")
def _works(context: ApiContext, call: ApiCall) -> answers.IssueWorksAnswer:
    """List the work on issues."""
    return {"works": list_work(context.core)}


@Verb(WORK_RUN, command="tell")
def _newest(context: ApiContext, call: ApiCall) -> RunShape:
    """Show the newest run that works on an issue."""
    return get_run_shape(context.core, find_newest_run(context.core, call.path["issue"]).id)


@Verb(answers.WORK, WorkOnIssueBody, "issue work", pokes=True, right=DISPATCHES)
def _work(context: ApiContext, call: ApiCall[WorkOnIssueBody]) -> answers.IssueWorkAnswer:
    """Have an agent work on an issue; with `dry_run`, only check admission.

    The issue is read before anything is created, and the tracker is updated as the run progresses.
    """
    body = call.body
    around = context.coordinator.around(dict(body.settings.items()), body.preset)
    project, issue = fetch_issue(around, context.coordinator.part(IssueTracking).trackers, body.issue)
    names = ("agent", "model", "runtime", "node", "budget")
    settings = {name: getattr(body, name) for name in names if getattr(body, name) is not None}
    request = request_from({**settings, "confirmed": body.yes, "preset": body.preset or ""}, body.by)
    about = {"issue": issue.ref, "title": issue.title, "url": issue.url}
    if body.dry_run:
        request, labels = make_request(context.core, issue, request, around, project)
        report = report_dry_run(context, around, request, None)
        shown = {"workspace": issue.ref.lower(), "task": request.task, "report": report, "warnings": labels}
        return cast("answers.IssueWorkAnswer", {**about, **shown})
    name, begun = start_work(context.core, around, project, issue, request)
    return cast("answers.IssueWorkAnswer", {**about, "workspace": name, **describe_queued(begun)})


@Verb(answers.PLAN, PlanBody, "issue plan", right=DISPATCHES)
def _plan(context: ApiContext, call: ApiCall[PlanBody]) -> answers.PlanAnswer:
    """Return the workspace and the task for a conversation with a planner."""
    body = call.body
    around, trackers = context.coordinator.around({}), context.coordinator.part(IssueTracking).trackers
    top = partial(context.top_of, body.cwd)
    return ensure_workspace(context.core, around, trackers, body.what, top, body.by, body.node, body.goes_on)


@Verb(answers.KEEP_PLAN, KeepPlanBody, "issue plan", pokes=True, right=APPROVES)
def _keep_plan(context: ApiContext, call: ApiCall[KeepPlanBody]) -> QueuedAnswer:
    """Write a plan into its workspace, by a run there; needs the scope `dispatch`, too.

    The run makes the plan part of the workspace: the next run there has the plan, and a landing includes it.
    It also approves both files for a landing, which otherwise asks for files that agents are told to read.
    """
    must_have(AccessScope.DISPATCH, "a run that writes a plan")
    around = context.coordinator.around({})
    core, name = context.core, call.path["workspace"]
    files = newest_plan(core, name, call.body.questions)
    request = request_keeping(core, name, files, call.body.by)
    begun = dispatch_run(core, around, request)
    record_plan(core, name, files, call.body.by)
    return describe_queued(begun)
