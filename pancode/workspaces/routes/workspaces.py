"""Routes of workspaces: create, show, open, leave, repair and remove them."""

from __future__ import annotations

from typing import Annotated, cast

from pydantic import Field

from pancode.interfaces.http.access.rights import DISPATCHES, DROPS, OPERATES
from pancode.interfaces.http.bodies import ActBody, Line, Name
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.errors import NotFoundError
from pancode.runs.project_rules import find_project, moved_project_error
from pancode.workspaces import answers
from pancode.workspaces.records import KeptWorkspace
from pancode.workspaces.service import (
    branch_for,
    create_workspace,
    end_open_run,
    get_workspace,
    list_workspaces,
    open_for,
    remove_workspace,
    repair_workspace,
)

Folder = Annotated[str, Field(min_length=1, max_length=4_096)]


class WorkspaceBody(ActBody):
    """A workspace to create. `name`: a name, or an issue, whose prefix selects the project.

    `title`: additional words for the branch name. `node`: where the workspace's runs work; empty: on any
    node. `project`: a project's name; default: the repository around `cwd`.
    """

    name: Name
    title: Annotated[Line, Field(max_length=200)] = ""
    node: Name | None = None
    project: Name | None = None
    cwd: Folder | None = None


class OpenBody(ActBody):
    """`node`: the node for the workspace's files; default: the node of its runs."""

    node: Name | None = None


class RepairBody(ActBody):
    """`repository`: the workspace's new repository path. `node`: its node from now on; `any`: any free node.

    Without both, the request repairs the problems whose `does` is not empty.
    """

    repository: Folder | None = None
    node: Name | None = None


class RemoveWorkspaceBody(ActBody):
    """`force`: also remove a workspace with work that has not landed."""

    force: bool = False


_MEASURED = "measured"
"""The query parameter that requests counts of commits from git; interfaces that poll every second omit it."""


@Verb(answers.WORKSPACES, command="workspace ls", query=(_MEASURED,))
def _list(context: ApiContext, call: ApiCall) -> answers.WorkspacesAnswer:
    """List the workspaces."""
    return {"workspaces": list_workspaces(context.core, _MEASURED in call.query)}


@Verb(answers.CREATE_WORKSPACE, WorkspaceBody, "workspace create", status=201, right=OPERATES)
def _create(context: ApiContext, call: ApiCall[WorkspaceBody]) -> answers.WorkspaceAnswer:
    """Create a workspace."""
    body = call.body
    name, now = body.name.lower(), context.core.wall_ms()
    project = _find_project(context, body)
    workspace = KeptWorkspace(name, project, branch_for(name, body.title), body.node, now, body.by)
    create_workspace(context.core, workspace)
    return get_workspace(context.core, context.coordinator.around({}), name)


@Verb(answers.WORKSPACE, command="workspace show", query=(_MEASURED,))
def _show(context: ApiContext, call: ApiCall) -> answers.WorkspaceAnswer:
    """Return a workspace with its runs and its problems."""
    around, measured = context.coordinator.around({}), _MEASURED in call.query
    return get_workspace(context.core, around, call.path["workspace"], measured)


def _find_project(context: ApiContext, body: WorkspaceBody) -> str:
    """Return the top of the repository: the named project's, the issue's, or the one around `cwd`."""
    projects = context.coordinator.around({}).projects()
    try:
        named = find_project(projects, body.project or body.name)
    except NotFoundError:
        if body.project is not None:
            raise
        return context.top_of(body.cwd)
    if context.project_of(named.path) is None:
        raise moved_project_error(named.name, named.path)
    return named.path


@Verb(answers.OPEN_WORKSPACE, OpenBody, "workspace open", pokes=True, right=DISPATCHES)
def _open(context: ApiContext, call: ApiCall[OpenBody]) -> answers.WorkspaceAnswer:
    """Start a run that keeps a workspace's files on a node for a user and ends when the user leaves."""
    body = call.body
    open_for(context.core, context.coordinator.around({}), call.path["workspace"], body.by, body.node)
    return _show(context, call)


@Verb(answers.LEAVE_WORKSPACE, ActBody, "workspace open", pokes=True, right=DISPATCHES)
def _leave(context: ApiContext, call: ApiCall[ActBody]) -> answers.WorkspaceAnswer:
    """End the run that keeps a workspace's files for a user; the user's changes are its result."""
    end_open_run(context.core, call.path["workspace"], call.body.by)
    return _show(context, call)


@Verb(answers.REPAIR_WORKSPACE, RepairBody, "workspace repair", right=OPERATES)
def _repair(context: ApiContext, call: ApiCall[RepairBody]) -> answers.WorkspaceAnswer:
    """Set a workspace's repository path or node, and repair its problems."""
    body = call.body
    top = None if body.repository is None else context.top_of(body.repository)
    around = context.coordinator.around({})
    repair_workspace(context.core, around, call.path["workspace"], body.by, top, body.node)
    return _show(context, call)


@Verb(answers.REMOVE_WORKSPACE, RemoveWorkspaceBody, "workspace rm", right=DROPS)
def _remove(context: ApiContext, call: ApiCall[RemoveWorkspaceBody]) -> answers.RemovedWorkspaceAnswer:
    """Remove a workspace; its runs are kept."""
    return cast(
        "answers.RemovedWorkspaceAnswer",
        remove_workspace(context.core, call.path["workspace"], call.body.by, call.body.force),
    )
