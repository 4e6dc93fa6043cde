"""The tools of the MCP server about workflows and lanes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from pancode.interfaces.client.caller import describe_parent, folder_here
from pancode.interfaces.client.client import home_here
from pancode.interfaces.client.remote.place import remote_of
from pancode.interfaces.http.access.rights import DISPATCHES, DROPS
from pancode.interfaces.mcp.protocol import ParamsError
from pancode.interfaces.mcp.tool import CWD, WORK, Json, McpTool, McpToolCall, integer_schema, string_schema

MOST_TASKS, MOST_IN_ORDER = 100, 20
_WORKFLOW = string_schema("w-abc123")
_COMMON: Json = {"cwd": CWD, **WORK}
_FIELDS: Json = {
    "task": string_schema("earlier answers are added"),
    **{name: WORK[name] for name in ("agent", "model", "mode") if name in WORK},
}
_STEP: Json = {"type": "object", "properties": _FIELDS, "required": ["task"], "additionalProperties": False}
_STEPS: Json = {"type": "array", "items": _STEP}
_TEXTS: Json = {"type": "array", "items": {"type": "string"}}


def _begin_batch(call: McpToolCall) -> Any:
    """Begin a batch; the admission gates check all tasks before the first one starts."""
    rows = [{"task": str(task)} for task in call.given["tasks"]]
    body = {"kind": "batch", "steps": _make_steps(call, rows), "concurrency": call.given.get("concurrency")}
    return _begin_workflow(call, body)


def _make_steps(call: McpToolCall, rows: Sequence[Mapping[str, str]]) -> list[Json]:
    """Return the steps of a workflow: each row's options, with the options of the call as defaults."""
    work = {name: call.given[name] for name in WORK if name in call.given}
    return [{"name": f"{n}", "dispatch": {**work, **row}} for n, row in enumerate(rows, 1)]


def _begin_chain(call: McpToolCall) -> Any:
    """Begin a chain, in which each step needs the previous one."""
    rows = call.given["steps"]
    for row in rows:
        if not isinstance(row, dict) or not all(isinstance(value, str) for value in row.values()):
            raise ParamsError("each item of steps must be an object of strings")
        if "task" not in row or set(row) - set(_FIELDS):
            raise ParamsError(f"a step must have a task, and may only have: {', '.join(_FIELDS)}")
    steps = _make_steps(call, rows)
    for before, step in pairwise(steps):
        step["needs"] = [before["name"]]
    return _begin_workflow(call, {"kind": "chain", "steps": steps})


def _begin_race(call: McpToolCall) -> Any:
    """Begin a race: one task for several agents or models, or several runs of one agent for it."""
    task, given = call.text("task"), call.given
    lists = [name for name in ("agents", "models", "best_of") if given.get(name)]
    if len(lists) != 1:
        raise ParamsError("a race requires exactly one of agents, models and best_of")
    named = lists[0].removesuffix("s")
    rows = [{named: str(one)} for one in given[lists[0]]] if named != "best_of" else [{}] * given["best_of"]
    if len(rows) < 2:
        raise ParamsError(f"{lists[0]} requires two or more entries")
    steps, rule = _make_steps(call, [{"task": task, **row} for row in rows]), {"by": given.get("by", "first")}
    return _begin_workflow(call, {"kind": "race", "input": task, "steps": steps, "race": rule})


def _run_workflow(call: McpToolCall) -> Any:
    """Run a workflow by name or path; its file is read and checked as `pancode chain` does."""
    from pancode.workflows.files.reader import check_workflow
    from pancode.workflows.files.search import WorkflowPlaces

    flags = {name: call.given[name] for name in WORK if name in call.given}
    # workflow files are read on this machine, and their content is sent
    remote = remote_of(os.environ) is not None
    cwd = folder_here() if remote else call.cwd or folder_here()
    source = WorkflowPlaces.seen_from(home_here(os.environ), cwd).find(call.text("workflow"))
    found = check_workflow(source.text, source.place, source.name, flags)
    if found.problems:
        raise found.problems[0]
    return _begin_workflow(
        call, {**(found.body or {}), **source.told(), "input": call.given.get("input", "")}
    )


def _begin_workflow(call: McpToolCall, body: Json) -> Any:
    payload = {**body, "by": call.by, **call.where(), **describe_parent()}
    answer = call.client.post_work(
        "/v1/workflows", payload, lambda under_way: call.progress.report(0, "snapshot")
    )
    until = "until it has ended, or has waits_for_person: then its inbox has the question"
    return {**answer, "next": f"call workflow_show with workflow {answer['workflow']} {until}"}


_make_tool = partial(McpTool, group="workflows")
_make_beginning = partial(_make_tool, right=DISPATCHES, untrusted=False)
WORKFLOW_TOOLS: tuple[McpTool, ...] = (
    _make_beginning(
        "dispatch_batch",
        "Start several independent coding tasks in parallel.",
        "POST /v1/workflows",
        {
            "tasks": {**_TEXTS, "maxItems": MOST_TASKS, "description": "each complete"},
            "concurrency": integer_schema("how many may run at the same time", 10_000),
            **_COMMON,
        },
        ("tasks",),
        do=_begin_batch,
    ),
    _make_beginning(
        "dispatch_chain",
        "Start steps that build on each other, such as first plan, then build, then review. Each gets the "
        "files and answers of the previous ones.",
        "POST /v1/workflows",
        {"steps": {**_STEPS, "minItems": 1, "maxItems": MOST_IN_ORDER}, **_COMMON},
        ("steps",),
        do=_begin_chain,
    ),
    _make_beginning(
        "dispatch_race",
        "Give one task to several agents, models or runs. The first that passes the gates wins, or the "
        "smallest change.",
        "POST /v1/workflows",
        {
            "task": string_schema(),
            "agents": _TEXTS,
            "models": _TEXTS,
            "best_of": integer_schema("runs of one agent", MOST_IN_ORDER),
            "by": {"type": "string", "enum": ["first", "smallest"]},
            **_COMMON,
        },
        ("task",),
        do=_begin_race,
    ),
    _make_beginning(
        "run_workflow",
        "Run a workflow file by name, such as explore-then-build, review-loop, parallel-review, "
        "plan-build-verify, fix-the-tests, red-team.",
        "POST /v1/workflows",
        {"workflow": string_schema(), "input": string_schema("the task"), **_COMMON},
        ("workflow",),
        do=_run_workflow,
    ),
    _make_tool(
        "workflow_show",
        "Steps of a batch, chain or race with state, run, reason and cost.",
        "GET /v1/workflows/{workflow}",
        {"workflow": _WORKFLOW},
    ),
    _make_tool(
        "workflow_stop",
        "Stop a workflow with all its runs.",
        "POST /v1/workflows/{workflow}/stop",
        {"workflow": _WORKFLOW},
        right=DROPS,
    ),
    _make_tool(
        "lanes",
        "The user's lanes: queues of tasks that start one after another; state, items, cost.",
        "GET /v1/lanes",
    ),
    _make_beginning(
        "lane_add",
        "Add a coding task to a lane. It begins when the tasks before it are done. The lane must exist.",
        "POST /v1/lanes/{lane}/add",
        {
            "lane": string_schema("name of the lane (see lanes)"),
            "task": string_schema("the whole task"),
            "key": string_schema("an item with the same key is added only once"),
            **WORK,
        },
        ("task",),
    ),
)
