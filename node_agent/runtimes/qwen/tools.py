"""Classifies a tool call of Qwen Code; a shell command is read."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.base import ToolCall, clip
from node_agent.runtimes.hooks import REFUSED
from node_agent.runtimes.lines import text_of
from node_agent.runtimes.outcome import DETAIL_CHARS, shell_call
from node_agent.wire.policy import ActionClass

_ACTIONS = {
    **dict.fromkeys(
        ("read_file", "list_directory", "grep_search", "glob", "todo_write", "skill"), ActionClass.FILE_READ
    ),
    **dict.fromkeys(("edit", "write_file", "notebook_edit"), ActionClass.FILE_WRITE),
    "web_fetch": ActionClass.NETWORK,
    "monitor": ActionClass.SHELL,
    "agent": ActionClass.DISPATCH,
}
OURS = {
    "read_file": ("read",),
    "grep_search": ("grep",),
    "glob": ("find", "ls"),
    "list_directory": ("find", "ls"),
    "edit": ("edit",),
    "notebook_edit": ("edit",),
    "write_file": ("write",),
    "run_shell_command": ("bash",),
    "monitor": ("bash",),
}
"""Its tools, and which of ours each stands for."""
_DETAILS = ("file_path", "command", "pattern", "path", "url")
_DENIED = ("but that permission was declined", "Plan mode blocked", "not found in registry", REFUSED)


def call_of(tool: str, given: dict[str, Any]) -> ToolCall:
    """The call, with the path or command that says most of it."""
    if tool == "run_shell_command":
        return shell_call(tool, text_of(given.get("command")))
    detail = next((clip(v, DETAIL_CHARS) for k in _DETAILS if (v := text_of(given.get(k)))), "")
    paths = tuple(v for k in ("file_path", "path") if (v := text_of(given.get(k))))
    return ToolCall(tool, _ACTIONS.get(tool, ActionClass.UNKNOWN), detail, paths=paths)


def is_denied(block: dict[str, Any]) -> bool:
    """Check whether a tool's result is that it was not let through."""
    words = text_of(block.get("content"))
    return block.get("is_error") is True and any(part in words for part in _DENIED)
