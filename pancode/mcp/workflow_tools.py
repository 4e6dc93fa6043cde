"""The tools of the MCP server about work of many runs, and about what waits for a person."""

from __future__ import annotations

import os
from typing import Any

from pancode.access.rights import ANSWERS, DISPATCHES, DROPS
from pancode.caller import above, folder_here
from pancode.client import home_here, path_of
from pancode.mcp.tool import CWD, RUN, WORK, Json, McpTool, McpToolCall, integer, string
from pancode.remote.place import remote_of

MOST_TASKS = 100
_WORKFLOW = string("id of a workflow (w-abc123), as the tools that begin one give it")
_COMMON: Json = {"cwd": CWD, **WORK}


def _batch(call: McpToolCall) -> Any:
    """All tasks are admitted before the first one starts."""
    work = {name: call.given[name] for name in WORK if name in call.given}
    tasks = call.given["tasks"]
    steps = [{"name": f"{n}", "dispatch": {**work, "task": str(task)}} for n, task in enumerate(tasks, 1)]
    body = {"kind": "batch", "steps": steps, "concurrency": call.given.get("concurrency")}
    return _begun(call, body)


def _run_workflow(call: McpToolCall) -> Any:
    """By name or path; read and checked as `pancode chain` does."""
    from pancode.config.workflows.finding import WorkflowPlaces
    from pancode.config.workflows.reading import check_workflow

    flags = {name: call.given[name] for name in WORK if name in call.given}
    remote = remote_of(os.environ) is not None  # files of workflows are read here, and sent
    cwd = folder_here() if remote else call.cwd or folder_here()
    source = WorkflowPlaces.seen_from(home_here(os.environ), cwd, os.environ).find(call.text("workflow"))
    found = check_workflow(source.text, source.place, source.name, flags)
    if found.problems:
        raise found.problems[0]
    return _begun(call, {**(found.body or {}), **source.told(), "input": call.given.get("input", "")})


def _begun(call: McpToolCall, body: Json) -> Any:
    asked = {**body, "by": call.by, **call.where(), **above()}
    answer = call.client.post_work(
        "/v1/workflows", asked, lambda under_way: call.progress.report(0, "snapshot")
    )
    until = "until it has ended, or has waits_for_person: then its inbox has the question"
    return {**answer, "next": f"call workflow_show with workflow {answer['workflow']} {until}"}


def _show(call: McpToolCall) -> Any:
    return call.client.get(path_of("workflows", call.text("workflow")))


def _stop(call: McpToolCall) -> Any:
    return call.client.post(path_of("workflows", call.text("workflow"), "stop"), {"by": call.by})


def _inbox(call: McpToolCall) -> Any:
    return call.client.get("/v1/inbox")


def _answer(call: McpToolCall) -> Any:
    body = {"by": call.by, "text": call.text("text"), "program": call.by}
    return call.client.post(call.run("answer"), body)


def _tell(call: McpToolCall) -> Any:
    return call.client.post(call.run("tell"), {"by": call.by, "text": call.text("text")})


def _continue(call: McpToolCall) -> Any:
    return call.client.post(call.run("continue"), {"by": call.by, "text": call.given.get("text", "")})


WORKFLOW_TOOLS: tuple[McpTool, ...] = (
    McpTool(
        "dispatch_batch",
        "Hand over several independent coding tasks at once; each becomes a run on one of the machines. "
        "Answers at once with the id of a workflow.",
        _batch,
        "POST /v1/workflows",
        {
            "tasks": {
                "type": "array",
                "items": {"type": "string"},
                "maxItems": MOST_TASKS,
                "description": "the tasks, each whole: the agents see nothing of each other",
            },
            "concurrency": integer("how many may run at the same time", 10_000),
            **_COMMON,
        },
        ("tasks",),
        right=DISPATCHES,
        untrusted=False,
    ),
    McpTool(
        "run_workflow",
        "Run a workflow file by name: steps that build on each other, such as explore-then-build, "
        "review-loop, parallel-review, plan-build-verify, fix-the-tests, red-team. agent, model, runtime, "
        "workspace and verify are for steps that name none.",
        _run_workflow,
        "POST /v1/workflows",
        {
            "workflow": string("name or path of the workflow file"),
            "input": string("what is to be done"),
            **_COMMON,
        },
        ("workflow",),
        right=DISPATCHES,
        untrusted=False,
    ),
    McpTool(
        "workflow_show",
        "Steps of a batch, chain or race with state, run and reason, and the cost so far.",
        _show,
        "GET /v1/workflows/{workflow}",
        {"workflow": _WORKFLOW},
        ("workflow",),
    ),
    McpTool(
        "workflow_stop",
        "Stop all runs of a workflow. What they have done so far is kept and billed.",
        _stop,
        "POST /v1/workflows/{workflow}/stop",
        {"workflow": _WORKFLOW},
        ("workflow",),
        right=DROPS,
    ),
    McpTool(
        "inbox",
        "What waits for a person: questions, runs to start, changes to land. People approve, no agent.",
        _inbox,
        "GET /v1/inbox",
    ),
    McpTool(
        "answer",
        "Answer the question with which a run has ended; it goes on in a new run. Ask the user first.",
        _answer,
        "POST /v1/runs/{run}/answer",
        {"run": RUN, "text": string("the answer, or the number of a choice")},
        ("run", "text"),
        right=ANSWERS,
        untrusted=False,
    ),
    McpTool(
        "tell",
        "Words of the user for the agent of a run: with its task, at its next turn where its program takes "
        "words, else kept; the answer says which.",
        _tell,
        "POST /v1/runs/{run}/tell",
        {"run": RUN, "text": string("the words")},
        ("run", "text"),
        right=ANSWERS,
        untrusted=False,
    ),
    McpTool(
        "continue_run",
        "Go on from the result of a finished run, in its session where that is kept, with a remark.",
        _continue,
        "POST /v1/runs/{run}/continue",
        {"run": RUN, "text": string("what is to be done next")},
        ("run",),
        right=DISPATCHES,
        untrusted=False,
    ),
)
