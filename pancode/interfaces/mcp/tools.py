"""The tools of the MCP server about runs and the fleet, and the table of all tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from pancode.interfaces.client.caller import describe_parent
from pancode.interfaces.client.client import LAND_S, Client, RepeatedPost, path_of
from pancode.interfaces.client.retry import post_work
from pancode.interfaces.http.access.rights import ANSWERS, DISPATCHES, DROPS, LANDS, OPERATES, TELLS
from pancode.interfaces.mcp.protocol import CallProgress, ParamsError
from pancode.interfaces.mcp.session_tools import SESSION_TOOLS
from pancode.interfaces.mcp.tool import (
    CORE,
    CWD,
    LOOK_S,
    ROWS,
    RUN,
    WAIT_MOST_S,
    WORK,
    Json,
    McpTool,
    McpToolCall,
    integer_schema,
    make_error_result,
    make_result,
    string_schema,
)
from pancode.kernel.errors import PancodeError, UsageError
from pancode.kernel.formatting import format_gpus, reveal_invisible
from pancode.workflows.commands.mcp_tools import WORKFLOW_TOOLS


def _show(call: McpToolCall) -> Any:
    """Return PanCode's settings; with `key`, only that setting or group."""
    rows = call.client.get("/v1/config", cwd=call.cwd)["settings"]
    key = str(call.given.get("key", ""))
    return {
        "settings": [row for row in rows if not key or row["key"] == key or row["key"].startswith(f"{key}.")]
    }


def _propose_change(call: McpToolCall) -> Any:
    kind = call.text("kind")
    body = {
        "kind": kind,
        "target": call.given.get("target") or _TARGETS.get(kind, ""),
        "value": call.given.get("value"),
        "why": call.given.get("why", ""),
        "by": call.by,
    }
    answer = call.client.post("/v1/config/propose", body)
    return {**answer, "next": "nothing is changed yet: the user gets a card and decides; do not wait"}


_TARGETS = {"budget": "day", "preset": "preset", "session": "safety"}
"""The target of a proposed change if none is given, by kind of change."""
_make_setting_tool = partial(McpTool, group="settings")
CONFIG_TOOLS: tuple[McpTool, ...] = (
    _make_setting_tool(
        "config_show",
        "Every setting with its value and where that was set.",
        "GET /v1/config",
        {"cwd": CWD, "key": string_schema("dispatch.safety, limits")},
        do=_show,
    ),
    _make_setting_tool(
        "projects",
        "The user's projects: named repositories, their folders, and the defaults of work there.",
        "GET /v1/projects",
        do=lambda call: call.client.get("/v1/projects", prd=1),
    ),
    _make_setting_tool(
        "workspaces",
        "The user's workspaces: lines of work with a name, a branch and files that stay from run to run.",
        "GET /v1/workspaces",
    ),
    _make_setting_tool(
        "propose_change",
        "Ask the user to change PanCode's configuration: 'set the budget to 25 dollars', 'use the local "
        "preset', 'switch to full-auto'. The user gets a card and decides.",
        "POST /v1/config/propose",
        {
            "kind": {
                "type": "string",
                "enum": ["setting", "budget", "preset", "session", "agent"],
                "description": "setting: of all later work; session: safety or mode of this chat; agent: a "
                "new one, or its fields",
            },
            "target": string_schema("key, agent, or scope: day (default), node:NAME ..."),
            "value": string_schema("full-auto, 25, local, {from: builder, runtime: codex}; omitted: removed"),
            "why": string_schema(),
        },
        ("kind",),
        do=_propose_change,
        right=TELLS,
    ),
)


_NAME = string_schema("name of the schedule (see schedules)")
_WHEN = ("cron", "at", "on", "zone", "missed", "overlap", "dry_run")
_ADD: Json = {
    "name": string_schema("a name for it"),
    "task": string_schema("the whole task; with on: $RUN is the run of the event"),
    "cron": string_schema("five cron fields, or @daily ...; give exactly one of cron, at and on"),
    "at": string_schema("one time, such as 2026-12-24 08:00"),
    "on": string_schema("on an event: run.failed, run.done, workflow.failed, node.lost ..."),
    "zone": string_schema("time zone of cron and at, such as Europe/Berlin; default: UTC"),
    "missed": {
        "type": "string",
        "enum": ["once", "none", "all"],
        "description": "for times missed while the coordinator was down: once, never, or each; default: once",
    },
    "overlap": {
        "type": "boolean",
        "description": "whether it may begin while its last run continues; default: no",
    },
    "dry_run": {"type": "boolean", "description": "only show its next times"},
    "cwd": CWD,
    **WORK,
}


def _add(call: McpToolCall) -> Any:
    work = {name: call.given[name] for name in ("task", *WORK) if name in call.given}
    when = {name: call.given[name] for name in _WHEN if name in call.given}
    dispatch = {**work, **call.where(), "by": call.by, **describe_parent()}
    return call.client.post(
        "/v1/schedules", {"name": call.text("name"), "by": call.by, **when, "dispatch": dispatch}
    )


_make_schedule_tool = partial(McpTool, group="schedules")
SCHEDULE_TOOLS: tuple[McpTool, ...] = (
    _make_schedule_tool(
        "schedules",
        "Schedules: work that begins automatically, with its next times and the result of the last start.",
        "GET /v1/schedules",
    ),
    _make_schedule_tool(
        "schedule_add",
        "Make a schedule: a coding task that begins at cron times, once, or on an event. The "
        "admission gates and the budget apply at each start. Ask the user first.",
        "POST /v1/schedules",
        _ADD,
        ("name", "task"),
        do=_add,
        right=DISPATCHES,
        untrusted=False,
    ),
    _make_schedule_tool(
        "schedule_pause",
        "Pause a schedule: it begins nothing until it is resumed.",
        "POST /v1/schedules/{schedule}/pause",
        {"schedule": _NAME, "reason": string_schema("why, for the record")},
        right=OPERATES,
        untrusted=False,
    ),
    _make_schedule_tool(
        "schedule_resume",
        "Resume a paused schedule, from its next time on.",
        "POST /v1/schedules/{schedule}/resume",
        {"schedule": _NAME},
        right=OPERATES,
        untrusted=False,
    ),
    _make_schedule_tool(
        "schedule_remove",
        "Remove a schedule permanently. Runs that it has begun continue. Ask the user first.",
        "POST /v1/schedules/{schedule}/remove",
        {"schedule": _NAME},
        right=DROPS,
        untrusted=False,
    ),
)


MOST_QUESTIONS = 4
LOG_BYTES, DIFF_CHARS = 20_000, 60_000
"""The most bytes of a log and characters of a diff in one answer; clients cut answers at some 25,000
tokens."""


_DISPATCH: Json = {
    "task": string_schema("complete: the agent sees nothing of this conversation"),
    "cwd": CWD,
    "project": string_schema("instead of cwd: a project's name, or one of its issues (see projects)"),
    **WORK,
    "show": string_schema("run, or commits A..B, whose diff the agent gets"),
    "dry_run": {"type": "boolean", "description": "only check"},
}


def _describe_fleet(call: McpToolCall) -> Any:
    """Return what a dispatch can use, without missing programs and empty fields, and what waits for the
    user, which the tool `inbox` lists."""
    nodes, now = call.client.get("/v1/fleet")["nodes"], read_now(call)
    sick = [need for group in now["groups"] if group["group"] == "nodes" for need in group["needs"]]
    troubles = {need["node"]: need["headline"] for need in sick}
    kept = ("name", "state", "why", "slots", "labels", "isolation", "draining", "paused")
    shapes = [{key: node[key] for key in kept if node.get(key)} for node in nodes]
    for shape, node in zip(shapes, nodes, strict=True):
        there = [one for one in node["runtimes"] if one["state"] != "missing" or one.get("served")]
        shape["runtimes"] = {one["name"]: _state_of(one) for one in there}
        shape |= {"gpus": format_gpus(node)} if node.get("gpus") else {}
        shape |= {"trouble": troubles[node["name"]]} if node["name"] in troubles else {}
    return {"nodes": shapes, "waits_for_user": now["summary"] or "nothing"}


def _state_of(runtime: Json) -> str:
    """Return the version of a runtime that is ready, or else the reason why it is not."""
    ready = runtime["state"] == "ok" or runtime.get("served")
    return str(runtime["version"] or "ok") if ready else str(runtime["state"]).replace("_", " ")


def _list_agents(call: McpToolCall) -> Any:
    agents = call.client.get("/v1/agents", cwd=call.cwd)["agents"]
    kept = ("name", "description", "read_only", "runtime", "model", "tier", "tools")
    rows = call.client.get("/v1/records", limit=RECORDS)["records"]
    return {
        "agents": [
            {
                **{key: one[key] for key in kept if key in one},
                "records": _select_records(rows, agent=one["name"]),
            }
            for one in agents
        ]
    }


def _list_models(call: McpToolCall) -> Any:
    answer = call.client.get("/v1/models", cwd=call.cwd)
    rows = call.client.get("/v1/records", limit=RECORDS)["records"]
    return {
        **answer,
        "models": [{**one, "records": _select_records(rows, model=one["id"])} for one in answer["models"]],
    }


RECORDS, MOST_RECORDS = 500, 6


def _select_records(rows: list[Json], **equal: str) -> list[Json]:
    """Return the agents' records with these values, most runs first; a rate of too few runs is unknown."""
    mine = [row for row in rows if all(row[name] == value for name, value in equal.items())]
    kept = ("agent", "model", "kind", "size", "runs", "good")
    return [
        {
            **{key: row[key] for key in kept if key not in equal},
            "rate": row["rate"] if row["enough"] else "unknown",
        }
        for row in sorted(mine, key=lambda row: -int(row["runs"]))[:MOST_RECORDS]
    ]


def _dispatch(call: McpToolCall) -> Any:
    """Dispatch as the command does, and answer as soon as the run is queued."""
    where = {} if "project" in call.given else call.where()
    body = {**call.given, **where, "by": call.by, **describe_parent()}
    answer = call.client.post_work("/v1/runs", body, lambda under_way: call.progress.report(0, "snapshot"))
    if body.get("dry_run"):
        return answer
    return {**answer, "next": f"call wait with run {answer['run']}, then run_show"}


def _explore_questions(call: McpToolCall) -> Any:
    """Wait until all scouts have answered or time is up. A repeated call waits for those still running."""
    names = ("questions", "again", "node", "model", "runtime")
    body = {name: call.given[name] for name in names if name in call.given}
    body |= {"look": call.given["depth"]} if "depth" in call.given else {}
    path = "/v1/explore"
    payload = {**body, **call.where(), "by": call.by, **describe_parent()}
    answer = call.client.post_work(path, payload, lambda under_way: call.progress.report(0, "snapshot"))
    rows = answer["scouts"]
    for waited in range(WAIT_MOST_S):
        if all(row["state"] != UNDER_WAY for row in rows):
            return {"scouts": rows}
        call.progress.report(waited, "the scouts are still working")
        call.progress.wait(LOOK_S)
        rows = [_read_scout(call, row) for row in rows]
    return {"scouts": rows, "next": "call explore again with the same questions: it continues waiting"}


UNDER_WAY = "under way"
"""The state of a scout that has not answered yet."""


def _read_scout(call: McpToolCall, row: Json) -> Json:
    known = row["state"] != UNDER_WAY
    found: Json = row if known else call.client.get(path_of("explore", row["run"]))
    return found


def _wait(call: McpToolCall) -> Any:
    """Wait until the run ends or time is up; in the second case the caller calls again."""
    seconds = min(int(call.given.get("seconds", WAIT_MOST_S)), WAIT_MOST_S)
    run = call.client.get(call.run("brief"))
    for waited in range(seconds):
        if run["state"] == "ended":
            break
        call.progress.report(waited, reveal_invisible(f"{run['stage']}: {run['reason']}"))
        call.progress.wait(LOOK_S)
        run = call.client.get(call.run("brief"))
    ended = run["state"] == "ended"
    return {**run, "next": "call run_show for its answer" if ended else "it continues: call wait again"}


def _list_runs(call: McpToolCall) -> Any:
    wanted = {key: value for key, value in call.given.items() if key != "limit"}
    limit = min(int(call.given.get("limit", 20)), ROWS)
    kept = ("run", "state", "outcome", "agent", "runtime", "model", "node", "task", "reason", "created_at")
    runs = call.client.get("/v1/runs", limit=limit, **wanted)["runs"]
    return {"runs": [{key: run[key] for key in kept} for run in runs]}


def _search_history(call: McpToolCall) -> Any:
    return call.client.get(
        "/v1/history",
        cwd=call.cwd,
        text=call.given.get("query"),
        limit=min(int(call.given.get("limit", 10)), ROWS),
    )


def _read_log(call: McpToolCall) -> Any:
    """Return a run's log from an offset, or its last bytes; `left_out`: how many bytes precede these."""
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
    """Return how many bytes of the log are stored, and its attempt. Few calls: each skips twice as far."""
    first = call.client.log(call.text("run"), stream, "", 0)

    def at(offset: int) -> int:
        part = call.client.log(call.text("run"), stream, first.attempt, offset)
        return len(part.data) if part.attempt == first.attempt else 0

    end = skip = len(first.data)
    while skip:
        found = at(end + skip)
        end, skip = (end + skip + found, skip * 2) if found else (end, skip // 2)
    return end + at(end), first.attempt


def _read_receipt(call: McpToolCall) -> Any:
    """Return what the node has signed, in readable form, and its digest; the tool `verify` checks it."""
    row = call.client.get(path_of("receipts", call.text("run")))
    kept = ("run", "attempt", "node", "outcome", "digest", "stored_at", "statement")
    return {name: row[name] for name in kept if name in row}


def _retry(call: McpToolCall) -> Any:
    answer = call.client.post(call.run("retry"), {"by": call.by, "reason": call.given.get("reason", "")})
    return {**answer, "next": f"call wait with run {answer['run']}, then run_show"}


def _read_diff(call: McpToolCall) -> Any:
    stat = bool(call.given.get("stat", False))
    text = call.client.raw(call.run("diff"), stat="1" if stat else None).decode("utf-8", "replace")
    return {"diff": text[:DIFF_CHARS], "cut": len(text) > DIFF_CHARS}


def read_now(call: McpToolCall) -> Any:
    """Return what a user sees first: what needs them, what to review, nodes in trouble, what has ended."""
    return call.client.get("/v1/now")


def list_needs(call: McpToolCall) -> Any:
    """Return what `pancode status` shows first, without the runs that need nobody. What an approval by flags
    covers is left out: it is for the user."""
    now, needs = read_now(call), list[Json]()
    for need in (need for group in now["groups"] for need in group["needs"]):
        item = need["item"] or {}
        kept = ["group", "state", "run", "node", "title", "headline", "words", "usd", "since"]
        kept += [] if item.get("yes") else ["approves"]
        shape = {name: need[name] for name in kept if need[name]}
        needs.append(shape | {name: item[name] for name in ("choices", "yes") if item.get(name)})
    ended = now["ended"]
    return {
        "needs": needs,
        "count": now["count"],
        "ended": {name: ended[name] for name in ("since", "count", "states")},
        "costs": [line["what"] for line in now["money"]["notes"]],
    }


_TEXT: Json = {"type": "string"}
_OR_NONE: Json = {"type": ["string", "null"]}
_NUMBER: Json = {"type": "integer"}
_STATE: Json = {"run": _TEXT, "state": _TEXT, "outcome": _OR_NONE, "reason": _TEXT, "next": _TEXT}
_QUEUED: Json = {"run": _TEXT, "state": _TEXT, "reason": _TEXT, "next": _TEXT}

TOOLS: tuple[McpTool, ...] = (
    McpTool(
        "fleet_status",
        "Nodes of the fleet: state, slots, runtimes, running work.",
        "GET /v1/fleet",
        do=_describe_fleet,
        output={"nodes": {"type": "array", "items": {"type": "object"}}, "waits_for_user": _TEXT},
    ),
    McpTool(
        "agents",
        "Agents: purpose, and success rate by kind and size of task.",
        "GET /v1/agents",
        {"cwd": CWD},
        do=_list_agents,
        group="choices",
    ),
    McpTool(
        "models",
        "Models of the fleet's own servers: tests and success rates.",
        "GET /v1/models",
        {"cwd": CWD},
        do=_list_models,
        group="choices",
    ),
    McpTool(
        "dispatch",
        "Give a coding task to an agent. Answers at once with the id of a run that works in the background "
        "on a snapshot of the repository.",
        "POST /v1/runs",
        _DISPATCH,
        ("task",),
        do=_dispatch,
        right=DISPATCHES,
        untrusted=False,
        output=_QUEUED,
    ),
    McpTool(
        "explore",
        "Have read-only scouts answer 1 to 4 questions about the repository, cheaply, in parallel.",
        "POST /v1/explore",
        {
            "questions": {"type": "array", "items": {"type": "string"}, "maxItems": MOST_QUESTIONS},
            "depth": {"type": "string", "enum": ["shallow", "medium", "deep"]},
            "again": {"type": "boolean", "description": "ask again even if an answer is known"},
            "cwd": CWD,
            "node": WORK["node"],
            "model": WORK["model"],
            "runtime": WORK["runtime"],
        },
        ("questions",),
        do=_explore_questions,
        right=DISPATCHES,
        group="history",
    ),
    McpTool(
        "wait",
        f"Wait for a run to end, at most {WAIT_MOST_S} s.",
        "GET /v1/runs/{run}/brief",
        {"run": RUN, "seconds": integer_schema("how long to wait", WAIT_MOST_S)},
        do=_wait,
        output=_STATE,
    ),
    McpTool(
        "runs",
        "The newest runs with state, outcome, agent and node.",
        "GET /v1/runs",
        {
            "limit": integer_schema("how many", ROWS),
            "outcome": string_schema("running, done, error, lost ..."),
            "node": string_schema("only runs on this node"),
            "agent": string_schema(),
            "since": string_schema("2h, 3d"),
        },
        do=_list_runs,
        output={"runs": {"type": "array", "items": {"type": "object"}}},
    ),
    McpTool(
        "run_show",
        "One run in full: answer, gates, changed files, tokens, cost, receipt.",
        "GET /v1/runs/{run}",
        {"run": RUN},
    ),
    McpTool(
        "why",
        "Why a run waits, where it was placed, why it failed.",
        "GET /v1/runs/{run}/why",
        {"run": RUN},
    ),
    McpTool(
        "verify",
        "Check the signed receipt of a run.",
        "GET /v1/runs/{run}/verify",
        {"run": RUN},
        group="proof",
    ),
    McpTool(
        "history",
        "What earlier runs here decided, did and left open.",
        "GET /v1/history",
        {"query": string_schema(), "cwd": CWD, "limit": integer_schema("how many", ROWS)},
        do=_search_history,
        group="history",
    ),
    McpTool(
        "logs",
        f"Output of a run, {LOG_BYTES // 1000} KB at a time. tail: its last bytes.",
        "GET /v1/runs/{run}/log",
        {
            "run": RUN,
            "stream": {"type": "string", "enum": ["out", "err"]},
            "offset": integer_schema("next_offset", 10**15),
            "tail": integer_schema("", LOG_BYTES),
        },
        do=_read_log,
        output={"text": _TEXT, "next_offset": _NUMBER, "state": _TEXT, "left_out": _NUMBER},
    ),
    McpTool(
        "diff",
        "The change that a run made, as a patch; stat: only files and counts.",
        "GET /v1/runs/{run}/diff",
        {"run": RUN, "stat": {"type": "boolean"}},
        do=_read_diff,
        output={"diff": _TEXT, "cut": {"type": "boolean"}},
    ),
    McpTool(
        "comments",
        "The comments on a run's change, and its answers to those of the round before.",
        "GET /v1/runs/{run}/comments",
        {"run": RUN},
        output={"run": _TEXT, "round": _NUMBER, "comments": {"type": "array"}},
    ),
    McpTool(
        "comment",
        "Comment on a run's change: a line, a file (line 0) or the whole (no file). People send it back.",
        "POST /v1/runs/{run}/comments",
        {"run": RUN, "file": _TEXT, "line": _NUMBER, "words": string_schema("the comment")},
        ("words",),
        right=TELLS,
        untrusted=False,
        output={"id": _TEXT, "place": _TEXT},
    ),
    McpTool(
        "retry",
        "Start the same task again, as a new run.",
        "POST /v1/runs/{run}/retry",
        {"run": RUN, "reason": string_schema("why, for the record")},
        do=_retry,
        right=DISPATCHES,
        untrusted=False,
        output=_QUEUED,
    ),
    McpTool(
        "receipt",
        "The signed receipt of a run, readable: who ran what where, files, gates, cost. verify checks it.",
        "GET /v1/receipts/{run}",
        {"run": RUN},
        do=_read_receipt,
        output={"run": _TEXT, "digest": _TEXT, "statement": {"type": "object"}},
    ),
    McpTool(
        "stop",
        "Stop a run. What it has done is kept and billed.",
        "POST /v1/runs/{run}/stop",
        {"run": RUN, "reason": string_schema("why, for the record")},
        right=DROPS,
    ),
    McpTool(
        "land",
        "Apply the change of a finished run to the user's files, after its gates. Ask the user first.",
        "POST /v1/runs/{run}/land",
        {"run": RUN},
        do=lambda call: call.client.post(call.run("land"), {"by": call.by}, LAND_S),
        right=LANDS,
    ),
    McpTool(
        "budget",
        "Ceilings, spent and reserved: USD, tokens and minutes.",
        "GET /v1/budget",
        untrusted=False,
        group="choices",
    ),
    *WORKFLOW_TOOLS,
    McpTool(
        "inbox",
        "What needs the user: questions, approvals, failures, reviews; what ended.",
        "GET /v1/now",
        do=list_needs,
    ),
    McpTool(
        "answer",
        "Answer the question with which a run has ended. Ask the user first.",
        "POST /v1/runs/{run}/answer",
        {"run": RUN, "text": string_schema("or the number of a choice")},
        ("text",),
        do=lambda call: call.client.post(
            call.run("answer"), {"by": call.by, "text": call.text("text"), "program": call.by}
        ),
        right=ANSWERS,
        untrusted=False,
    ),
    McpTool(
        "tell",
        "Send a message of the user to the agent of a running run.",
        "POST /v1/runs/{run}/tell",
        {"run": RUN, "text": string_schema()},
        ("text",),
        right=ANSWERS,
        untrusted=False,
    ),
    McpTool(
        "continue_run",
        "Continue a finished run with a new message.",
        "POST /v1/runs/{run}/continue",
        {"run": RUN, "text": string_schema()},
        right=DISPATCHES,
        untrusted=False,
    ),
    *SCHEDULE_TOOLS,
    *SESSION_TOOLS,
    *CONFIG_TOOLS,
)
BY_NAME = {tool.name: tool for tool in TOOLS}
GROUPS = tuple(dict.fromkeys(tool.group for tool in TOOLS))


def list_tools(groups: Collection[str]) -> list[Json]:
    """Return the tools of the core group and of these groups, as `tools/list` shows them."""
    return [tool.listed() for tool in TOOLS if tool.group == CORE or ALL in groups or tool.group in groups]


ALL = "all"
"""The name that selects every group."""


def call_tool(
    client: Callable[[bool], Client],
    words: Mapping[str, RepeatedPost],
    name: str,
    given: Json,
    by: str,
    progress: CallProgress,
) -> Json:
    """Return the result of `tools/call`. A refusal or an invalid argument is also a result, so that the model
    reads the reason. Raises ParamsError for an unknown tool."""
    tool = BY_NAME.get(name)
    if tool is None:
        raise ParamsError(f"tool {name[:100]} not found; use one of {', '.join(BY_NAME)}")
    try:
        call = McpToolCall(client(tool.begins), words, tool.read(given), by, progress)
        # A model that was not tested is tested first, as the command line does.
        answer = post_work(
            lambda line: progress.report(0, line), call.client, {"by": by}, lambda _: tool.carry_out(call)
        )
    except ParamsError as wrong:
        fix = f"call {name} again with arguments that match its schema"
        error = UsageError(str(wrong), fix=fix, code="bad_argument")
        return {**_make_result(make_error_result(error, False)), "isError": True}
    except PancodeError as refused:
        return {**_make_result(make_error_result(refused, tool.untrusted)), "isError": True}
    return _make_result(make_result(answer, tool.untrusted))


def _make_result(answer: Any) -> Json:
    text = json.dumps(answer, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], "structuredContent": answer, "isError": False}
