"""The shapes of workspaces and projects in the API."""

from dataclasses import dataclass

from typing_extensions import TypedDict

from pancode.config.answers import ChangeAnswer
from pancode.kernel.route import Route
from pancode.runs.project_rules import NamedProject


class WorkspaceShape(TypedDict):
    workspace: str
    project: str
    branch: str
    node: str | None
    created_at: str
    created_by: str
    used_at: str | None
    count: int
    """The number of the workspace's runs; at most the newest 1,000 are counted."""
    last: str | None
    outcome: str | None
    agent: str | None
    """The agent that works there now; null: none."""
    at_node: str | None
    files: list[str]
    """The files that the workspace's runs changed and that have not landed."""
    dirty: int | None
    """The number of unlanded files; null (unknown) while a run works there, or if the newest run was lost."""
    size: int | None
    """Last measured bytes of its checkout, set-up and home on the node that works there; null: not measured
    yet, or no node keeps its files now."""
    commit: str | None
    ahead: int | None
    """The number of commits of the workspace's runs since the last landing. This and `behind` are null if not
    requested or unknown to git."""
    behind: int | None
    """The number of commits, since the workspace was created, on the branch checked out in its repository."""


class OpenedShape(TypedDict):
    """The run that keeps a workspace's files on a node for a user. `node` and `folder`: null until the files
    have arrived."""

    run: str
    by: str
    node: str | None
    folder: str | None


class WorkspaceProblem(TypedDict):
    """A problem of a workspace. `does`: what a repair does about it automatically; empty: nothing."""

    what: str
    fix: str
    does: str


class WorkspaceRun(TypedDict):
    run: str
    task: str
    outcome: str
    """The run's outcome, or its state if it has not ended."""
    landed: str | None
    talk: str | None
    """The session whose newest interactive run it is and that can be continued; null: none, or it has
    ended."""


class WorkspaceAnswer(WorkspaceShape):
    runs: list[WorkspaceRun]
    problems: list[WorkspaceProblem]
    opened: OpenedShape | None


class WorkspacesAnswer(TypedDict):
    workspaces: list[WorkspaceShape]


class RemovedWorkspaceAnswer(TypedDict):
    removed: str
    kept: str | None


@dataclass(frozen=True, slots=True)
class ProjectShape(NamedProject):
    """A project. `prd`: the current path, below its top, of the file that describes what it is to become;
    empty: none, or the list was requested without `prd`. `there`: whether its path is a repository. `notes`:
    what the user should know of the change that was just made."""

    there: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectsAnswer:
    """All projects, or those that the request has added."""

    projects: tuple[ProjectShape, ...]


class PrdAnswer(TypedDict):
    """`prd`: the PRD's path, as in a project. `task`: the task of a run that drafts a PRD. `text`: the draft
    of the named run; null if no run was named."""

    project: str
    path: str
    remote: str
    prd: str
    task: str
    text: str | None


class TrackerHookAnswer(TypedDict):
    """`url`: the webhook's address; null if the API is not open over TCP. `secret`: shown only in this
    answer; null if the user supplied it or Linear creates it."""

    project: str
    tracker: str
    url: str | None
    secret: str | None


class TrackerCalledAnswer(TypedDict):
    project: str


WORKSPACES = Route[WorkspacesAnswer]("GET /v1/workspaces")
CREATE_WORKSPACE = Route[WorkspaceAnswer]("POST /v1/workspaces")
WORKSPACE = Route[WorkspaceAnswer]("GET /v1/workspaces/{workspace}")
OPEN_WORKSPACE = Route[WorkspaceAnswer]("POST /v1/workspaces/{workspace}/open")
LEAVE_WORKSPACE = Route[WorkspaceAnswer]("POST /v1/workspaces/{workspace}/leave")
REPAIR_WORKSPACE = Route[WorkspaceAnswer]("POST /v1/workspaces/{workspace}/repair")
REMOVE_WORKSPACE = Route[RemovedWorkspaceAnswer]("POST /v1/workspaces/{workspace}/remove")
PROJECTS = Route[ProjectsAnswer]("GET /v1/projects")
PROJECT = Route[ProjectShape]("GET /v1/projects/{project}")
DRAFT = Route[PrdAnswer]("GET /v1/projects/{project}/prd")
MAP_PROJECTS = Route[ProjectsAnswer]("POST /v1/projects/mapping")
ADD_PROJECT = Route[ProjectShape]("POST /v1/projects")
TRACKER_HOOK = Route[TrackerHookAnswer]("POST /v1/projects/{project}/webhook")
REMOVE_PROJECT = Route[ChangeAnswer]("POST /v1/projects/{project}/remove")
