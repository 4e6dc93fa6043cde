"""Classifies a tool call of Qwen Code; a shell command is read."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.hooks import REFUSED
from node_agent.runtimes.lines import text_of
from node_agent.runtimes.outcome import tool_table
from node_agent.wire.policy import ActionClass

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
"""The program's tools, and the tools of ours that each stands for."""
_DENIED = ("but that permission was declined", "Plan mode blocked", "not found in registry", REFUSED)

call_of = tool_table(
    "run_shell_command",
    {
        ActionClass.FILE_READ: "read_file list_directory grep_search glob todo_write skill",
        ActionClass.FILE_WRITE: "edit write_file notebook_edit",
        ActionClass.NETWORK: "web_fetch",
        ActionClass.SHELL: "monitor",
        ActionClass.DISPATCH: "agent",
    },
    "file_path command pattern path url",
    "file_path path",
)


def is_denied(block: dict[str, Any]) -> bool:
    """Whether a tool's result says that the call was denied."""
    words = text_of(block.get("content"))
    return block.get("is_error") is True and any(part in words for part in _DENIED)
