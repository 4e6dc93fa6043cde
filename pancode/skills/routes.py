"""Routes of agent-made tools: show them, try them, keep them for a project, remove them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pancode.interfaces.http.access.rights import DISPATCHES, SETS_UP
from pancode.interfaces.http.bodies import ActBody, Name
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, RemovedAnswer, Verb
from pancode.runs.answers import QueuedAnswer
from pancode.runs.dispatch import describe_queued
from pancode.runs.project_rules import find_project
from pancode.skills.answers import KEEP_TOOL, TOOL, TOOLS, TRY_TOOL, ToolDetail, ToolsAnswer, ToolShape
from pancode.skills.made_tools import get_tool, keep_tool, list_tools, put_aside, remove_tool, try_it


class KeepToolBody(ActBody):
    """`digest`: the digest of the tool that the user has seen; the approval covers only these bytes."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RemoveToolBody(ActBody):
    """`project`: a project's name; if omitted, the repository around `cwd`. `run`: dismiss this run's
    proposal instead of removing a kept tool."""

    project: Name | None = None
    cwd: Annotated[str, Field(max_length=4_096)] | None = None
    run: Name | None = None


def _place(context: ApiContext, project: str | None, cwd: str | None) -> str:
    """Return the top of the project's repository or, without a project, of that around `cwd`. UsageError."""
    if project is not None:
        return find_project(context.coordinator.around({}).projects(), project).path
    return context.top_of(cwd)


@Verb(TOOLS, command="project tools ls", query=("project",))
def _tools(context: ApiContext, call: ApiCall) -> ToolsAnswer:
    """List agent-made tools, kept and proposed."""
    project = call.query.get("project")
    return {"tools": list_tools(context.core, None if project is None else _place(context, project, None))}


@Verb(TOOL, command="project tools show")
def _tool(context: ApiContext, call: ApiCall) -> ToolDetail:
    """Return a proposed tool with its files and tests."""
    return get_tool(context.core, call.path["run"], call.path["tool"])


@Verb(TRY_TOOL, ActBody, "project tools try", pokes=True, right=DISPATCHES)
def _try(context: ApiContext, call: ApiCall[ActBody]) -> QueuedAnswer:
    """Run a tool's tests in a node's sandbox, as a run."""
    around = context.coordinator.around({})
    return describe_queued(try_it(context.core, around, call.path["run"], call.path["tool"], call.body.by))


@Verb(KEEP_TOOL, KeepToolBody, "project tools keep", right=SETS_UP)
def _keep(context: ApiContext, call: ApiCall[KeepToolBody]) -> ToolShape:
    """Keep a tool for the later runs of its project."""
    return keep_tool(context.core, call.path["run"], call.path["tool"], call.body.digest, call.body.by)


@Verb("POST /v1/tools/{tool}/remove", RemoveToolBody, "project tools rm", right=SETS_UP)
def _remove_tool(context: ApiContext, call: ApiCall[RemoveToolBody]) -> RemovedAnswer:
    """Revoke a kept tool, or dismiss a proposal."""
    body = call.body
    if body.run is not None:
        put_aside(context.core, body.run, call.path["tool"], body.by)
    else:
        remove_tool(context.core, call.path["tool"], _place(context, body.project, body.cwd), body.by)
    return {"removed": call.path["tool"]}
