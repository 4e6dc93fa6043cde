"""The shapes of tools made by agents, in the API."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route
from pancode.runs.answers import QueuedAnswer


class ToolShape(TypedDict):
    """A tool of a project. `state`: proposed, not sound, on trial, cut short, failed, tried, kept, or changed
    since it was kept.

    `digest`: the digest of the files that runs get. `by`: the user who kept the tool. `problem`: why it
    cannot be tried or kept.
    """

    name: str
    project: str
    state: str
    about: str
    digest: str
    run: str
    by: str | None
    at: str
    trial: str | None
    problem: str | None


class ToolDetail(ToolShape):
    """A tool with its files. `files`: their contents by path."""

    files: dict[str, str]


class ToolsAnswer(TypedDict):
    tools: list[ToolShape]


TOOLS = Route[ToolsAnswer]("GET /v1/tools")
TOOL = Route[ToolDetail]("GET /v1/runs/{run}/tools/{tool}")
TRY_TOOL = Route[QueuedAnswer]("POST /v1/runs/{run}/tools/{tool}/try")
KEEP_TOOL = Route[ToolShape]("POST /v1/runs/{run}/tools/{tool}/keep")
