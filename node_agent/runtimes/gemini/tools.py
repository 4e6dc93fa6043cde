"""Names what a tool call of the Gemini CLI does; a shell command is looked at."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.actions import shell_action
from node_agent.runtimes.base import ToolCall, clip
from node_agent.runtimes.lines import text_of
from node_agent.wire.policy import ActionClass

DETAIL_CHARS = 200
_ACTIONS = {
    **dict.fromkeys(
        ("read_file", "read_many_files", "list_directory", "grep_search", "glob"), ActionClass.FILE_READ
    ),
    **dict.fromkeys(("update_topic", "write_todos", "read_background_output"), ActionClass.FILE_READ),
    **dict.fromkeys(("replace", "write_file"), ActionClass.FILE_WRITE),
    **dict.fromkeys(("web_fetch", "google_web_search"), ActionClass.NETWORK),
    "invoke_agent": ActionClass.DISPATCH,
}
_DETAILS = ("file_path", "command", "pattern", "dir_path", "path", "query", "url")


def call_of(tool: str, given: dict[str, Any]) -> ToolCall:
    """The call, with the path or command that says most of it."""
    action = _ACTIONS.get(tool, ActionClass.UNKNOWN)
    if tool == "run_shell_command":
        action = shell_action(text_of(given.get("command")))
    detail = next((clip(v, DETAIL_CHARS) for k in _DETAILS if (v := text_of(given.get(k)))), "")
    return ToolCall(tool, action, detail)
