"""Classifies a tool call of the Gemini CLI; a shell command is read."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.base import ToolCall, clip
from node_agent.runtimes.lines import text_of
from node_agent.runtimes.outcome import DETAIL_CHARS, shell_call
from node_agent.wire.policy import ActionClass

_ACTIONS = {
    **dict.fromkeys(
        ("read_file", "read_many_files", "list_directory", "grep_search", "glob"), ActionClass.FILE_READ
    ),
    **dict.fromkeys(
        ("update_topic", "write_todos", "read_background_output", "activate_skill"), ActionClass.FILE_READ
    ),
    **dict.fromkeys(("replace", "write_file"), ActionClass.FILE_WRITE),
    **dict.fromkeys(("web_fetch", "google_web_search"), ActionClass.NETWORK),
    "invoke_agent": ActionClass.DISPATCH,
}
OURS = {
    "read_file": ("read",),
    "read_many_files": ("read",),
    "grep_search": ("grep",),
    "glob": ("find", "ls"),
    "list_directory": ("find", "ls"),
    "replace": ("edit",),
    "write_file": ("write",),
    "run_shell_command": ("bash",),
}
"""Its tools, and which of ours each stands for."""
_DETAILS = ("file_path", "command", "pattern", "dir_path", "path", "query", "url")


def call_of(tool: str, given: dict[str, Any]) -> ToolCall:
    """The call, with the path or command that says most of it."""
    if tool == "run_shell_command":
        return shell_call(tool, text_of(given.get("command")))
    detail = next((clip(v, DETAIL_CHARS) for k in _DETAILS if (v := text_of(given.get(k)))), "")
    paths = tuple(v for k in ("file_path", "dir_path", "path") if (v := text_of(given.get(k))))
    return ToolCall(tool, _ACTIONS.get(tool, ActionClass.UNKNOWN), detail, paths=paths)
