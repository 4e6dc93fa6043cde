"""The API's answers about issues of trackers and about the work on issues."""

from dataclasses import dataclass
from typing import NotRequired

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import DryRunAnswer, QueuedAnswer


class IssueWorkShape(TypedDict):
    """The work on an issue. `state`: as reported to the tracker; `trouble`: why a report to it failed."""

    issue: str
    title: str
    url: str
    project: str
    workspace: str
    began_at: str
    by: str
    state: str | None
    run: str | None
    run_state: str | None
    waits: bool
    pull: str | None
    trouble: str | None


class IssueShape(TypedDict):
    """An issue as its tracker reports it."""

    issue: str
    title: str
    url: str
    state: str
    labels: list[str]
    assignees: list[str]
    author: str


class IssuesAnswer(TypedDict):
    project: str
    issues: list[IssueShape]


class IssueAnswer(IssueShape):
    project: str
    text: str


class IssueWorksAnswer(TypedDict):
    works: list[IssueWorkShape]


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """The place of a plan. `task`: the planner's task; `run`: the planning session, empty before it begins;
    `file`: the file for the plan."""

    workspace: str
    file: str
    task: str
    run: str = ""


class IssueWorkAnswer(TypedDict):
    """The queued run; with `dry_run`, the run's task and the report of the admission gates."""

    issue: str
    title: str
    url: str
    workspace: str
    task: NotRequired[str]
    report: NotRequired[DryRunAnswer]
    run: NotRequired[str]
    state: NotRequired[str]
    reason: NotRequired[str]
    agent: NotRequired[str]
    chosen: NotRequired[str]
    warnings: NotRequired[list[str]]


ISSUES = Route[IssuesAnswer]("GET /v1/issues")
ISSUE = Route[IssueAnswer]("GET /v1/issues/{issue}")
WORKS = Route[IssueWorksAnswer]("GET /v1/work")
WORK = Route[IssueWorkAnswer]("POST /v1/work")
PLAN = Route[PlanAnswer]("POST /v1/plans")
KEEP_PLAN = Route[QueuedAnswer]("POST /v1/plans/{workspace}/keep")
