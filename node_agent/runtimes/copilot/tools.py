"""Classifies a tool call of the Copilot CLI; a shell command is parsed."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.lines import text_of
from node_agent.runtimes.outcome import tool_table
from node_agent.wire.policy import ActionClass

OURS = {
    "view": ("read", "ls"),
    "grep": ("grep",),
    "glob": ("find", "ls"),
    "create": ("write",),
    **dict.fromkeys(("edit", "str_replace_editor", "apply_patch"), ("edit",)),
    **dict.fromkeys(("bash", "write_bash", "read_bash", "stop_bash", "list_bash"), ("bash",)),
}
"""The program's tools, and our tools to which each corresponds; one without a counterpart is always kept."""
_MISSING = ("Tool '", "' does not exist.")

call_of = tool_table(
    "bash",
    {
        ActionClass.FILE_READ: "view grep glob update_todo skill",
        ActionClass.FILE_WRITE: "create edit str_replace_editor apply_patch",
        ActionClass.SHELL: "read_bash list_bash stop_bash write_bash",
        ActionClass.NETWORK: "web_fetch",
        ActionClass.DISPATCH: "task",
    },
    "path command pattern url input",
    "path",
)


def is_denied(error: dict[str, Any]) -> bool:
    """Whether a failed call was denied; a tool counts as denied if we have made it unavailable."""
    words, (head, tail) = text_of(error.get("message")), _MISSING
    return error.get("code") == "denied" or (words.startswith(head) and words.endswith(tail))
