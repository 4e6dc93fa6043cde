"""Classifies a tool call of Claude Code, and tells whether it was denied."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.base import ToolCall, clip
from node_agent.runtimes.lines import dict_of, list_of, text_of
from node_agent.runtimes.outcome import DETAIL_CHARS, shell_call
from node_agent.wire.policy import ActionClass

_ACTIONS = {
    **dict.fromkeys(
        ("Read", "Grep", "Glob", "LS", "NotebookRead", "TodoWrite", "Skill"), ActionClass.FILE_READ
    ),
    **dict.fromkeys(("Edit", "MultiEdit", "Write", "NotebookEdit"), ActionClass.FILE_WRITE),
    **dict.fromkeys(("WebFetch", "WebSearch"), ActionClass.NETWORK),
    **dict.fromkeys(("Task", "Agent"), ActionClass.DISPATCH),
}
_DETAILS = ("file_path", "command", "pattern", "path", "url", "notebook_path", "description")
_PATHS = ("file_path", "path", "notebook_path")


def call_of(tool: str, given: dict[str, Any]) -> ToolCall:
    """One call: its class, and what it is about; a shell command is looked at."""
    if tool == "Bash":
        return shell_call(tool, text_of(given.get("command")))
    detail = next((clip(v, DETAIL_CHARS) for k in _DETAILS if (v := text_of(given.get(k)))), "")
    paths = tuple(v for k in _PATHS if (v := text_of(given.get(k))))
    return ToolCall(tool, _ACTIONS.get(tool, ActionClass.UNKNOWN), detail, paths=paths)


def is_denied(block: dict[str, Any], meta: dict[str, Any]) -> bool:
    """Check whether a tool result says that the call was not let through.

    A tool that `--tools` took away leaves no entry in `permission_denials`, only this text.
    """
    if block.get("is_error") is not True:
        return False
    if dict_of(meta.get("permission_decision")).get("decision") in ("reject", "deny"):
        return True
    content = block.get("content")
    texts = [content] if isinstance(content, str) else [b.get("text") for b in map(dict_of, list_of(content))]
    return any("No such tool available" in text_of(t)[:200] for t in texts)
