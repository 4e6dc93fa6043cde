"""The tools of the MCP server about work of several runs, and about what waits for a user."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pancode.interfaces.client.caller import describe_parent, folder_here
from pancode.interfaces.client.client import home_here, path_of
from pancode.interfaces.client.remote.place import remote_of
from pancode.interfaces.http.access.rights import ANSWERS, DISPATCHES, DROPS
from pancode.interfaces.mcp.protocol import ParamsError
from pancode.interfaces.mcp.tool import (
    CWD,
    RUN,
    WORK,
    Json,
    McpTool,
    McpToolCall,
    integer_schema,
    string_schema,
)

MOST_TASKS, MOST_IN_ORDER = 100, 20
_WORKFLOW = string_schema("w-abc123")
_COMMON: Json = {"cwd": CWD, **WORK}
_OF_A_STEP: Json = {
    "task": string_schema("earlier answers are added"),
    **{name: WORK[name] for name in ("agent", "model", "mode") if name in WORK},
}


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
        if "task" not in row or set(row) - set(_OF_A_STEP):
            raise ParamsError(f"a step must have a task, and may only have: {', '.join(_OF_A_STEP)}")
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


def _lane_add(call: McpToolCall) -> Any:
    """Add an item to a lane, with the given options of its work."""
    body = {name: call.given[name] for name in ("task", "key", *WORK) if name in call.given}
    return call.client.post(path_of("lanes", call.text("lane"), "add"), {**body, "by": call.by})


def read_now(call: McpToolCall) -> Any:
    """Return what a user sees first: what needs them, what to review, nodes in trouble, what has ended."""
    return call.client.get("/v1/now")


def list_needs(call: McpToolCall) -> Any:
    """Return what `pancode status` shows first, without the runs that need nobody. What an approval by flags
    covers is left out: it is for the user."""
    now, needs = read_now(call), list[Json]()
    for need in now["needs"]:
        item = need["item"] or {}
        kept = ("kind", "run", "node", "title", "words", *(() if item.get("yes") else ("approves",)), "since")
        shape = {name: need[name] for name in kept if need[name]}
        needs.append(shape | {name: item[name] for name in ("choices", "yes") if item.get(name)})
    ended, review = now["ended"], now["review"]
    return {
        "needs": needs,
        "review": {name: review[name] for name in ("changes", "verified")},
        "nodes": [{name: one[name] for name in ("node", "state", "words")} for one in now["nodes"]],
        "ended": {name: ended[name] for name in ("since", "count", "states")},
        "costs": [line["what"] for line in now["money"]["notes"]],
    }


def _answer(call: McpToolCall) -> Any:
    body = {"by": call.by, "text": call.text("text"), "program": call.by}
    return call.client.post(call.run("answer"), body)


WORKFLOW_TOOLS: tuple[McpTool, ...] = (
    McpTool(
        "dispatch_batch",
        "Start several independent coding tasks in parallel.",
        _begin_batch,
        "POST /v1/workflows",
        {
            "tasks": {
                "type": "array",
                "items": {"type": "string"},
                "maxItems": MOST_TASKS,
                "description": "each complete",
            },
            "concurrency": integer_schema("how many may run at the same time", 10_000),
            **_COMMON,
        },
        ("tasks",),
        right=DISPATCHES,
        untrusted=False,
        group="workflows",
    ),
    McpTool(
        "dispatch_chain",
        "Start steps that build on each other, such as first plan, then build, then review. Each gets the "
        "files and answers of the previous ones.",
        _begin_chain,
        "POST /v1/workflows",
        {
            "steps": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": _OF_A_STEP,
                    "required": ["task"],
                    "additionalProperties": False,
                },
                "minItems": 1,
                "maxItems": MOST_IN_ORDER,
            },
            **_COMMON,
        },
        ("steps",),
        right=DISPATCHES,
        untrusted=False,
        group="workflows",
    ),
    McpTool(
        "dispatch_race",
        "Give one task to several agents, models or runs. The first that passes the gates wins, or the "
        "smallest change.",
        _begin_race,
        "POST /v1/workflows",
        {
            "task": string_schema(),
            "agents": {"type": "array", "items": {"type": "string"}},
            "models": {"type": "array", "items": {"type": "string"}},
            "best_of": integer_schema("runs of one agent", MOST_IN_ORDER),
            "by": {"type": "string", "enum": ["first", "smallest"]},
            **_COMMON,
        },
        ("task",),
        right=DISPATCHES,
        untrusted=False,
        group="workflows",
    ),
    McpTool(
        "run_workflow",
        "Run a workflow file by name, such as explore-then-build, review-loop, parallel-review, "
        "plan-build-verify, fix-the-tests, red-team.",
        _run_workflow,
        "POST /v1/workflows",
        {"workflow": string_schema(), "input": string_schema("the task"), **_COMMON},
        ("workflow",),
        right=DISPATCHES,
        untrusted=False,
        group="workflows",
    ),
    McpTool(
        "workflow_show",
        "Steps of a batch, chain or race with state, run, reason and cost.",
        lambda call: call.client.get(path_of("workflows", call.text("workflow"))),
        "GET /v1/workflows/{workflow}",
        {"workflow": _WORKFLOW},
        ("workflow",),
        group="workflows",
    ),
    McpTool(
        "workflow_stop",
        "Stop a workflow with all its runs.",
        lambda call: call.client.post(path_of("workflows", call.text("workflow"), "stop"), {"by": call.by}),
        "POST /v1/workflows/{workflow}/stop",
        {"workflow": _WORKFLOW},
        ("workflow",),
        right=DROPS,
        group="workflows",
    ),
    McpTool(
        "lanes",
        "The user's lanes: queues of tasks that start one after another; state, items, cost.",
        lambda call: call.client.get("/v1/lanes"),
        "GET /v1/lanes",
        group="workflows",
    ),
    McpTool(
        "lane_add",
        "Add a coding task to a lane. It begins when the tasks before it are done. The lane must exist.",
        _lane_add,
        "POST /v1/lanes/{lane}/add",
        {
            "lane": string_schema("name of the lane (see lanes)"),
            "task": string_schema("the whole task"),
            "key": string_schema("an item with the same key is added only once"),
            **WORK,
        },
        ("lane", "task"),
        right=DISPATCHES,
        untrusted=False,
        group="workflows",
    ),
    McpTool(
        "inbox",
        "What needs the user: questions, approvals, failures, reviews; what ended.",
        list_needs,
        "GET /v1/now",
    ),
    McpTool(
        "answer",
        "Answer the question with which a run has ended. Ask the user first.",
        _answer,
        "POST /v1/runs/{run}/answer",
        {"run": RUN, "text": string_schema("or the number of a choice")},
        ("run", "text"),
        right=ANSWERS,
        untrusted=False,
    ),
    McpTool(
        "tell",
        "Send a message of the user to the agent of a running run.",
        lambda call: call.client.post(call.run("tell"), {"by": call.by, "text": call.text("text")}),
        "POST /v1/runs/{run}/tell",
        {"run": RUN, "text": string_schema()},
        ("run", "text"),
        right=ANSWERS,
        untrusted=False,
    ),
    McpTool(
        "continue_run",
        "Continue a finished run with a new message.",
        lambda call: call.client.post(
            call.run("continue"), {"by": call.by, "text": call.given.get("text", "")}
        ),
        "POST /v1/runs/{run}/continue",
        {"run": RUN, "text": string_schema()},
        ("run",),
        right=DISPATCHES,
        untrusted=False,
    ),
)
