"""Classifies a tool call of the Copilot CLI; a shell command is read."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.base import ToolCall, clip
from node_agent.runtimes.lines import text_of
from node_agent.runtimes.outcome import DETAIL_CHARS, shell_call
from node_agent.wire.policy import ActionClass

_ACTIONS = {
    **dict.fromkeys(("view", "grep", "glob", "update_todo", "skill"), ActionClass.FILE_READ),
    **dict.fromkeys(("create", "edit", "str_replace_editor", "apply_patch"), ActionClass.FILE_WRITE),
    **dict.fromkeys(("read_bash", "list_bash", "stop_bash", "write_bash"), ActionClass.SHELL),
    "web_fetch": ActionClass.NETWORK,
    "task": ActionClass.DISPATCH,
}
OURS = {
    **dict.fromkeys(("view",), ("read", "ls")),
    **dict.fromkeys(("grep",), ("grep",)),
    **dict.fromkeys(("glob",), ("find", "ls")),
    **dict.fromkeys(("create",), ("write",)),
    **dict.fromkeys(("edit", "str_replace_editor", "apply_patch"), ("edit",)),
    **dict.fromkeys(("bash", "write_bash", "read_bash", "stop_bash", "list_bash"), ("bash",)),
}
"""Its tools, and which of ours each stands for; what stands for none is no agent's to lose."""
_DETAILS = ("path", "command", "pattern", "url", "input")
_MISSING = ("Tool '", "' does not exist.")


def call_of(tool: str, given: dict[str, Any]) -> ToolCall:
    """The call, with the path or command that says most of it."""
    if tool == "bash":
        return shell_call(tool, text_of(given.get("command")))
    detail = next((clip(v, DETAIL_CHARS) for k in _DETAILS if (v := text_of(given.get(k)))), "")
    paths = tuple(v for k in ("path",) if (v := text_of(given.get(k))))
    return ToolCall(tool, _ACTIONS.get(tool, ActionClass.UNKNOWN), detail, paths=paths)


def is_denied(error: dict[str, Any]) -> bool:
    """Check whether a failed call was refused. A tool that is not available is one that we removed."""
    words, (head, tail) = text_of(error.get("message")), _MISSING
    return error.get("code") == "denied" or (words.startswith(head) and words.endswith(tail))
