"""The tools of the MCP server for schedules: work that begins by itself."""

from __future__ import annotations

from typing import Any

from pancode.access.rights import DISPATCHES, DROPS, OPERATES
from pancode.caller import above
from pancode.client import path_of
from pancode.mcp.tool import CWD, WORK, Json, McpTool, McpToolCall, string

_NAME = string("name of the schedule (see schedules)")
_ON_PUSH: Json = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 2,
    "maxItems": 2,
    "description": "begin when a branch gets a new head: repository (folder or https address), branch",
}
_WHEN = ("cron", "at", "on", "on_push", "zone", "missed", "overlap", "dry_run")
_ADD: Json = {
    "name": string("a name for it"),
    "task": string("the whole task; with on: $RUN is the run of the event, with on_push: $COMMIT"),
    "cron": string("five fields of cron, or @daily ...; give exactly one of cron, at, on and on_push"),
    "at": string("once, such as 2026-12-24 08:00"),
    "on": string("on an event: run.failed, run.done, workflow.failed, node.lost ..."),
    "on_push": _ON_PUSH,
    "zone": string("time zone of cron and at, such as Europe/Berlin; default: UTC"),
    "missed": {
        "type": "string",
        "enum": ["once", "none", "all"],
        "description": "for times without a coordinator: begin once, never, or for each; default: once",
    },
    "overlap": {"type": "boolean", "description": "may begin while its last run goes on; default: no"},
    "dry_run": {"type": "boolean", "description": "show its next times, and write nothing"},
    "cwd": CWD,
    **WORK,
}


def _list(call: McpToolCall) -> Any:
    return call.client.get("/v1/schedules")


def _add(call: McpToolCall) -> Any:
    work = {name: call.given[name] for name in ("task", *WORK) if name in call.given}
    when = {name: call.given[name] for name in _WHEN if name in call.given}
    dispatch = {**work, **call.where(), "by": call.by, **above()}
    return call.client.post(
        "/v1/schedules", {"name": call.text("name"), "by": call.by, **when, "dispatch": dispatch}
    )


def _pause(call: McpToolCall) -> Any:
    return call.client.post(_path(call, "pause"), {"by": call.by, "reason": call.given.get("reason", "")})


def _resume(call: McpToolCall) -> Any:
    return call.client.post(_path(call, "resume"), {"by": call.by})


def _remove(call: McpToolCall) -> Any:
    return call.client.post(_path(call, "remove"), {"by": call.by})


def _path(call: McpToolCall, verb: str) -> str:
    return path_of("schedules", call.text("schedule"), verb)


SCHEDULE_TOOLS: tuple[McpTool, ...] = (
    McpTool(
        "schedules",
        "Schedules: work that begins by itself, with the next times and the result of the last firing.",
        _list,
        "GET /v1/schedules",
        group="schedules",
    ),
    McpTool(
        "schedule_add",
        "Make a schedule: a coding task that begins at times of cron, once, on an event or on a push. "
        "Gates and budget judge at each firing. Ask the user first.",
        _add,
        "POST /v1/schedules",
        _ADD,
        ("name", "task"),
        DISPATCHES,
        untrusted=False,
        group="schedules",
    ),
    McpTool(
        "schedule_pause",
        "Pause a schedule: it begins nothing until it is resumed.",
        _pause,
        "POST /v1/schedules/{schedule}/pause",
        {"schedule": _NAME, "reason": string("why, for the record")},
        ("schedule",),
        OPERATES,
        untrusted=False,
        group="schedules",
    ),
    McpTool(
        "schedule_resume",
        "Let a paused schedule begin work again, from its next time on.",
        _resume,
        "POST /v1/schedules/{schedule}/resume",
        {"schedule": _NAME},
        ("schedule",),
        OPERATES,
        untrusted=False,
        group="schedules",
    ),
    McpTool(
        "schedule_remove",
        "Remove a schedule for good. Runs that it has begun go on. Ask the user first.",
        _remove,
        "POST /v1/schedules/{schedule}/remove",
        {"schedule": _NAME},
        ("schedule",),
        DROPS,
        untrusted=False,
        group="schedules",
    ),
)
