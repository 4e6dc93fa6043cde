"""Routes of issues in trackers: look, and have one worked on."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pancode.access.rights import DISPATCHES
from pancode.agents.request import request_from
from pancode.api.context import ApiContext
from pancode.api.document.answers import (
    IssueAnswer,
    IssuesAnswer,
    IssueWorkAnswer,
    IssueWorksAnswer,
    PlanAnswer,
    QueuedAnswer,
    RunShape,
)
from pancode.api.request.bodies import ActBody, CallerSettings, Name, Usd
from pancode.api.routing import ApiCall, Verb
from pancode.api.run_routes import rehearsed
from pancode.api.workspace_routes import top_of
from pancode.code.tracker.issues import Issue, place_of
from pancode.code.tracker.planning import MOST_QUESTIONS, keeping, place
from pancode.code.tracker.working import asked, begin, look, newest, status
from pancode.config.projects import project_among
from pancode.control.projects import NamedProject, meant
from pancode.control.run import brief
from pancode.core.values import replace
from pancode.dispatch.dispatch import dispatch
from pancode.dispatch.report import queued
from pancode.errors import UsageError
from pancode.runs.workspaces import in_workspace

MOST = 50
MOST_WORK = 20_000
"""Characters of a task that is to be planned."""


class WorkOnIssueBody(ActBody, CallerSettings):
    """An issue to be worked on, in a workspace of its own. What is left out is as the project says."""

    issue: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,31}-[0-9]{1,12}$")]
    agent: Name | None = None
    model: Name | None = None
    runtime: Name | None = None
    node: Name | None = None
    budget: Usd | None = None
    dry_run: bool = False
    yes: bool = False
    """A person has said yes to this very dispatch."""


class PlanBody(ActBody):
    """Work to be planned. `what`: an issue, a plan's name, or the task in words. `goes_on`: with the plan
    that is in the repository around `cwd`."""

    what: Annotated[str, Field(min_length=1, max_length=MOST_WORK)]
    cwd: Annotated[str, Field(max_length=4_096)] | None = None
    node: Name | None = None
    goes_on: bool = False


class KeepPlanBody(ActBody):
    """`questions`: the talk that led to the plan, as Markdown."""

    questions: Annotated[str, Field(max_length=MOST_QUESTIONS)] = ""


def _issues(context: ApiContext, call: ApiCall) -> Any:
    project = _project(context, call)
    found = context.coordinator.trackers.issues(place_of(project), project.prefix, MOST)
    return {"project": project.name, "issues": [_shape(one) for one in found]}


def _project(context: ApiContext, call: ApiCall) -> NamedProject:
    """The named one, or that of the repository where the person stands. UsageError where there is none."""
    around = context.coordinator.around({})
    if named := call.query.get("project"):
        return meant(around.projects(), named)
    top = context.project_of(call.query.get("cwd"))
    here = None if top is None else project_among(tuple(around.projects().values()), Path(top))
    if here is None:
        fix = "--project NAME (see pancode project ls), or: pancode project add . --tracker github:OWNER/REPO"
        raise UsageError("this folder is in no project", fix=fix, code="no_project")
    return here


def _issue(context: ApiContext, call: ApiCall) -> Any:
    around = context.coordinator.around({})
    project, issue = look(around, context.coordinator.trackers, call.path["issue"])
    return {**_shape(issue), "project": project.name, "text": issue.text}


def _shape(one: Issue) -> dict[str, Any]:
    return {
        "issue": one.ref,
        "title": one.title,
        "url": one.url,
        "state": one.state.value,
        "labels": list(one.labels),
        "assignees": list(one.assignees),
        "author": one.author,
    }


def _works(context: ApiContext, call: ApiCall) -> Any:
    return {"works": status(context.core)}


def _newest(context: ApiContext, call: ApiCall) -> Any:
    return brief(context.core, newest(context.core, call.path["issue"]).id)


def _work(context: ApiContext, call: ApiCall) -> Any:
    """The tracker is asked before anything is made, and told by what becomes of the run."""
    body: WorkOnIssueBody = call.body
    around = context.coordinator.around(dict(body.settings.items()), body.preset)
    project, issue = look(around, context.coordinator.trackers, body.issue)
    names = ("agent", "model", "runtime", "node", "budget")
    said = {name: getattr(body, name) for name in names if getattr(body, name) is not None}
    request = request_from({**said, "confirmed": body.yes, "preset": body.preset or ""}, body.by)
    request = asked(issue, request, around, project)
    about = {"issue": issue.ref, "title": issue.title, "url": issue.url}
    if body.dry_run:
        return {**about, "workspace": issue.ref.lower(), "task": request.task,
                "report": rehearsed(context, around, request, None)}  # fmt: skip
    name = begin(context.core, around, project, issue, body.by, body.node)
    request = in_workspace(context.core, around, replace(request, workspace=name))
    return {**about, "workspace": name, **queued(dispatch(context.core, around, request, None))}


def _plan(context: ApiContext, call: ApiCall) -> Any:
    body: PlanBody = call.body
    around, trackers = context.coordinator.around({}), context.coordinator.trackers
    top = partial(top_of, context, body.cwd)
    return asdict(place(context.core, around, trackers, body.what, top, body.by, body.node, body.goes_on))


def _keep_plan(context: ApiContext, call: ApiCall) -> Any:
    """As a run in its workspace, so that its next run has it, and a landing brings it."""
    body: KeepPlanBody = call.body
    around = context.coordinator.around({})
    request = keeping(context.core, call.path["workspace"], body.questions, body.by)
    return queued(dispatch(context.core, around, in_workspace(context.core, around, request), None))


ISSUE_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/issues", _issues, query=("project", "cwd"), answers=IssuesAnswer),
    Verb("GET", "/v1/issues/{issue}", _issue, answers=IssueAnswer),
    Verb("GET", "/v1/work", _works, answers=IssueWorksAnswer),
    Verb("GET", "/v1/work/{issue}", _newest, answers=RunShape),
    Verb("POST", "/v1/work", _work, WorkOnIssueBody, pokes=True, right=DISPATCHES, answers=IssueWorkAnswer),
    Verb("POST", "/v1/plans", _plan, PlanBody, right=DISPATCHES, answers=PlanAnswer),
    Verb("POST", "/v1/plans/{workspace}/keep", _keep_plan, KeepPlanBody, pokes=True, right=DISPATCHES,
         answers=QueuedAnswer),
)  # fmt: skip
