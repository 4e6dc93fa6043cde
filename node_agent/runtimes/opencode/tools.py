"""Classifies a tool call of OpenCode; a shell command is read."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.base import ToolCall, clip
from node_agent.runtimes.hooks import REFUSED
from node_agent.runtimes.lines import text_of
from node_agent.runtimes.outcome import DETAIL_CHARS, shell_call
from node_agent.wire.policy import ActionClass

_ACTIONS = {
    **dict.fromkeys(
        ("read", "grep", "glob", "list", "todowrite", "todoread", "skill"), ActionClass.FILE_READ
    ),
    **dict.fromkeys(("edit", "write", "patch", "apply_patch"), ActionClass.FILE_WRITE),
    **dict.fromkeys(("webfetch", "websearch"), ActionClass.NETWORK),
    "task": ActionClass.DISPATCH,
}
DENIED = (
    "Model tried to call unavailable tool",
    "The user has specified a rule which prevents",
    "rejected permission",
    REFUSED,
)
"""In the outcome of a call that was not let through."""
OURS = {
    "read": ("read",),
    "grep": ("grep",),
    "glob": ("find", "ls"),
    "list": ("find", "ls"),
    "edit": ("edit", "write"),
    "bash": ("bash",),
}
"""Its permissions, and which of our tools each stands for."""
_DETAILS = ("filePath", "command", "pattern", "path", "url", "description")


def call_of(tool: str, given: dict[str, Any]) -> ToolCall:
    if tool == "bash":
        return shell_call(tool, text_of(given.get("command")))
    detail = next((clip(v, DETAIL_CHARS) for k in _DETAILS if (v := text_of(given.get(k)))), "")
    paths = tuple(v for k in ("filePath", "path") if (v := text_of(given.get(k))))
    return ToolCall(tool, _ACTIONS.get(tool, ActionClass.UNKNOWN), detail, paths=paths)
