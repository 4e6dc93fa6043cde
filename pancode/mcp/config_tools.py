"""The tools of the MCP server for the configuration: look at it, and ask a person for a change."""

from __future__ import annotations

from typing import Any

from pancode.access.rights import TELLS
from pancode.mcp.tool import CWD, McpTool, McpToolCall, string


def _show(call: McpToolCall) -> Any:
    """With `key`: that setting, or those of that group."""
    rows = call.client.get("/v1/config", cwd=call.cwd)["settings"]
    key = str(call.given.get("key", ""))
    return {
        "settings": [row for row in rows if not key or row["key"] == key or row["key"].startswith(f"{key}.")]
    }


def _propose(call: McpToolCall) -> Any:
    kind = call.text("kind")
    body = {
        "kind": kind,
        "target": call.given.get("target") or _TARGETS.get(kind, ""),
        "value": call.given.get("value"),
        "why": call.given.get("why", ""),
        "by": call.by,
    }
    answer = call.client.post("/v1/config/propose", body)
    return {**answer, "next": "nothing is changed yet: the user sees it as a card and decides; do not wait"}


_TARGETS = {"budget": "day", "preset": "preset"}
"""What is meant where no target is given."""
CONFIG_TOOLS: tuple[McpTool, ...] = (
    McpTool(
        "config_show",
        "Every setting of PanCode with its value and where that was set.",
        _show,
        "GET /v1/config",
        {"cwd": CWD, "key": string("only this setting, or this group: dispatch.safety, limits")},
        group="settings",
    ),
    McpTool(
        "projects",
        "The user's projects: repositories with a name, where they lie, and the defaults of work there.",
        lambda call: call.client.get("/v1/projects"),
        "GET /v1/projects",
        group="settings",
    ),
    McpTool(
        "workspaces",
        "The user's workspaces: lines of work with a name, a branch and files kept from run to run.",
        lambda call: call.client.get("/v1/workspaces"),
        "GET /v1/workspaces",
        group="settings",
    ),
    McpTool(
        "propose_change",
        "Ask the user to change PanCode's configuration: 'set the budget to 25 dollars', 'use the local "
        "preset', 'switch to full-auto' (the setting dispatch.safety). The user gets a card with the exact "
        "change and decides; you cannot confirm it.",
        _propose,
        "POST /v1/config/propose",
        {
            "kind": {
                "type": "string",
                "enum": ["setting", "budget", "preset", "agent"],
                "description": "setting: a key of config_show; budget: a ceiling in dollars; preset; "
                "agent: a new agent, or fields of one",
            },
            "target": string(
                "key of a setting; name of an agent; of a budget its scope: day (default), node:NAME ..."
            ),
            "value": string(
                "the new value: full-auto, 25, local; of an agent its fields, like {from: builder, runtime: "
                "codex, node: gpubox}; left out: what was set is taken out"
            ),
            "why": string("one line for the user"),
        },
        ("kind",),
        right=TELLS,
        group="settings",
    ),
)
