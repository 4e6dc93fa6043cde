"""The tools of the MCP server about runs and the fleet, and the table of all tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pancode.access.rights import DISPATCHES, DROPS, LANDS
from pancode.caller import above
from pancode.client import LAND_S, Client, RepeatedPost
from pancode.errors import PancodeError
from pancode.mcp.protocol import CallProgress, ParamsError
from pancode.mcp.schedule_tools import SCHEDULE_TOOLS
from pancode.mcp.session_tools import SESSION_TOOLS
from pancode.mcp.tool import (
    CWD,
    LOOK_S,
    ROWS,
    RUN,
    WAIT_MOST_S,
    WORK,
    McpTool,
    McpToolCall,
    integer,
    refusal,
    shown,
    string,
)
from pancode.mcp.workflow_tools import WORKFLOW_TOOLS
from pancode.plain import unhidden

Json = dict[str, Any]
LOG_BYTES, DIFF_CHARS = 20_000, 60_000
"""Bounds of one answer; a client cuts answers of more than about 25,000 tokens."""


_DISPATCH: Json = {
    "task": string("the whole task, in words; the agent sees nothing of your conversation"),
    "cwd": CWD,
    **WORK,
    "dry_run": {"type": "boolean", "description": "judge by the ten gates, and start nothing"},
}


def _fleet(call: McpToolCall) -> Any:
    """What a dispatch can use: no program that is missing, and no field that says nothing."""
    nodes = call.client.get("/v1/fleet")["nodes"]
    kept = ("name", "state", "why", "slots", "labels", "isolation", "draining", "paused")
    shapes = [{key: node[key] for key in kept if node.get(key)} for node in nodes]
    for shape, node in zip(shapes, nodes, strict=True):
        there = [one for one in node["runtimes"] if one["state"] != "missing" or one.get("served")]
        shape["runtimes"] = {one["name"]: _state_of(one) for one in there}
        shape |= {"problems": [one["what"] for one in node["problems"]]} if node["problems"] else {}
    return {"nodes": shapes}


def _state_of(runtime: Json) -> str:
    """The version of one that is ready; else the reason why it is not."""
    ready = runtime["state"] == "ok" or runtime.get("served")
    return str(runtime["version"] or "ok") if ready else str(runtime["state"]).replace("_", " ")


def _agents(call: McpToolCall) -> Any:
    agents = call.client.get("/v1/agents", cwd=call.cwd)["agents"]
    kept = ("name", "description", "read_only", "runtime", "model", "tier", "tools")
    return {"agents": [{key: one[key] for key in kept if key in one} for one in agents]}


def _models(call: McpToolCall) -> Any:
    return call.client.get("/v1/models", cwd=call.cwd)


def _dispatch(call: McpToolCall) -> Any:
    """Dispatches as the command does, and answers as soon as the run is queued."""
    body = {**call.given, **call.where(), "by": call.by, **above()}
    answer = call.client.post_work("/v1/runs", body, lambda under_way: call.progress.report(0, "snapshot"))
    if body.get("dry_run"):
        return answer
    return {**answer, "next": f"call wait with run {answer['run']}, then run_show"}


def _wait(call: McpToolCall) -> Any:
    """Until the run ends, or the time is over: then the caller calls again."""
    seconds = min(int(call.given.get("seconds", WAIT_MOST_S)), WAIT_MOST_S)
    run = call.client.get(call.run("brief"))
    for waited in range(seconds):
        if run["state"] == "ended":
            break
        call.progress.report(waited, unhidden(f"{run['stage']}: {run['reason']}"))
        call.progress.wait(LOOK_S)
        run = call.client.get(call.run("brief"))
    ended = run["state"] == "ended"
    return {**run, "next": "run_show has its answer" if ended else "it goes on: call wait again"}


def _runs(call: McpToolCall) -> Any:
    wanted = {key: value for key, value in call.given.items() if key != "limit"}
    limit = min(int(call.given.get("limit", 20)), ROWS)
    kept = ("run", "state", "outcome", "agent", "runtime", "model", "node", "task", "reason", "created_at")
    runs = call.client.get("/v1/runs", limit=limit, **wanted)["runs"]
    return {"runs": [{key: run[key] for key in kept} for run in runs]}


def _run(call: McpToolCall) -> Any:
    return call.client.get(call.run())


def _why(call: McpToolCall) -> Any:
    return call.client.get(call.run("why"))


def _logs(call: McpToolCall) -> Any:
    """From an offset on, or the last bytes; `left_out` of them stand before those."""
    stream, tail = call.given.get("stream", "out"), call.given.get("tail")
    offset, attempt = call.given.get("offset", 0), ""
    if tail is not None:
        end, attempt = _end_of(call, stream)
        offset = max(0, end - min(tail, LOG_BYTES))
    part = call.client.log(call.text("run"), stream, attempt, offset)
    data = part.data[:LOG_BYTES]
    cut = len(part.data) > LOG_BYTES
    text, left_out = data.decode("utf-8", "replace"), {}
    if tail is not None:
        left_out = {"left_out": offset}
        part = call.client.log(call.text("run"), stream, attempt, offset + len(data))
    state = "more" if cut else part.state
    return {**left_out, "text": text, "next_offset": offset + len(data), "state": state}


def _end_of(call: McpToolCall, stream: str) -> tuple[int, str]:
    """The number of bytes of a log that are here, and its attempt, by few questions: each skips further."""
    first = call.client.log(call.text("run"), stream, "", 0)

    def at(offset: int) -> int:
        part = call.client.log(call.text("run"), stream, first.attempt, offset)
        return len(part.data) if part.attempt == first.attempt else 0

    end = skip = len(first.data)
    while skip:
        found = at(end + skip)
        end, skip = (end + skip + found, skip * 2) if found else (end, skip // 2)
    return end + at(end), first.attempt


def _diff(call: McpToolCall) -> Any:
    stat = bool(call.given.get("stat", False))
    text = call.client.raw(call.run("diff"), stat="1" if stat else None).decode("utf-8", "replace")
    return {"diff": text[:DIFF_CHARS], "cut": len(text) > DIFF_CHARS}


def _stop(call: McpToolCall) -> Any:
    return call.client.post(call.run("stop"), {"by": call.by, "reason": call.given.get("reason", "")})


def _land(call: McpToolCall) -> Any:
    return call.client.post(call.run("land"), {"by": call.by}, LAND_S)


def _budget(call: McpToolCall) -> Any:
    return call.client.get("/v1/budget")


TOOLS: tuple[McpTool, ...] = (
    McpTool(
        "fleet_status",
        "Machines of the PanCode fleet: which are online, their slots, runtimes and running work.",
        _fleet,
        "GET /v1/fleet",
    ),
    McpTool(
        "agents",
        "Agent definitions for a dispatch, with the purpose of each.",
        _agents,
        "GET /v1/agents",
        {"cwd": CWD},
    ),
    McpTool(
        "models",
        "Models to choose from, local and remote, with prices.",
        _models,
        "GET /v1/models",
        {"cwd": CWD},
    ),
    McpTool(
        "dispatch",
        "Hand a coding task to an agent on one of the fleet's machines. Answers at once with the id of a run "
        "that works in the background on a snapshot of the repository; call wait, then run_show and diff.",
        _dispatch,
        "POST /v1/runs",
        _DISPATCH,
        ("task",),
        right=DISPATCHES,
        untrusted=False,
    ),
    McpTool(
        "wait",
        f"Wait for a run to end, at most {WAIT_MOST_S} s; call again while it goes on.",
        _wait,
        "GET /v1/runs/{run}/brief",
        {"run": RUN, "seconds": integer("how long to wait", WAIT_MOST_S)},
        ("run",),
    ),
    McpTool(
        "runs",
        "The newest runs of the fleet with state, outcome, agent and machine.",
        _runs,
        "GET /v1/runs",
        {
            "limit": integer("how many", ROWS),
            "outcome": string("only runs that are or ended so: running, pending, done, error, lost ..."),
            "node": string("only runs of this machine"),
            "agent": string("only runs of this agent"),
            "since": string("only newer ones, such as 2h or 3d"),
        },
    ),
    McpTool(
        "run_show",
        "All of one run: the agent's answer, gates, changed files, tokens and cost, receipt.",
        _run,
        "GET /v1/runs/{run}",
        {"run": RUN},
        ("run",),
    ),
    McpTool(
        "why",
        "Every decision about a run in words: why it waits, where it was placed, why it failed.",
        _why,
        "GET /v1/runs/{run}/why",
        {"run": RUN},
        ("run",),
    ),
    McpTool(
        "logs",
        f"Output of a run, {LOG_BYTES // 1000} KB at a time; go on at next_offset. With tail: its last "
        "bytes, and how many are left out before them.",
        _logs,
        "GET /v1/runs/{run}/log",
        {
            "run": RUN,
            "stream": {"type": "string", "enum": ["out", "err"], "description": "default: out"},
            "offset": integer("first byte", 10**15),
            "tail": integer("instead of offset: only the last so many bytes", LOG_BYTES),
        },
        ("run",),
    ),
    McpTool(
        "diff",
        "The change that a run made, as a patch; stat: only files and counts.",
        _diff,
        "GET /v1/runs/{run}/diff",
        {"run": RUN, "stat": {"type": "boolean", "description": "only files and counts"}},
        ("run",),
    ),
    McpTool(
        "stop",
        "Stop a run. What it has done so far is kept and billed.",
        _stop,
        "POST /v1/runs/{run}/stop",
        {"run": RUN, "reason": string("why, for the record")},
        ("run",),
        right=DROPS,
    ),
    McpTool(
        "land",
        "Bring the change of a finished run into the user's working tree, after its gates. Ask the user "
        "first.",
        _land,
        "POST /v1/runs/{run}/land",
        {"run": RUN},
        ("run",),
        right=LANDS,
    ),
    McpTool(
        "budget",
        "The budget: ceilings, and what is spent and held, in USD, tokens and minutes.",
        _budget,
        "GET /v1/budget",
        untrusted=False,
    ),
    *WORKFLOW_TOOLS,
    *SCHEDULE_TOOLS,
    *SESSION_TOOLS,
)
BY_NAME = {tool.name: tool for tool in TOOLS}


def call(
    client: Callable[[bool], Client],
    words: Mapping[str, RepeatedPost],
    name: str,
    given: Json,
    by: str,
    progress: CallProgress,
) -> Json:
    """Result of `tools/call`. A refusal is a result, too: the model reads its reason."""
    tool = BY_NAME.get(name)
    if tool is None:
        raise ParamsError(f"there is no tool {name[:100]}; there are {', '.join(BY_NAME)}")
    tool.check(given)
    try:
        answer = tool.do(McpToolCall(client(tool.begins), words, given, by, progress))
    except PancodeError as refused:
        return {**_result(refusal(refused, tool.untrusted)), "isError": True}
    return _result(shown(answer, tool.untrusted))


def _result(answer: Any) -> Json:
    text = json.dumps(answer, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], "structuredContent": answer, "isError": False}
