"""Names what a tool call of Claude Code does, and whether it was denied."""

from __future__ import annotations

from typing import Any

from node_agent.runtimes.actions import shell_action
from node_agent.runtimes.base import clip
from node_agent.runtimes.lines import dict_of, list_of, text_of
from node_agent.wire.policy import ActionClass

_ACTIONS = {
    **dict.fromkeys(("Read", "Grep", "Glob", "LS", "NotebookRead", "TodoWrite"), ActionClass.FILE_READ),
    **dict.fromkeys(("Edit", "MultiEdit", "Write", "NotebookEdit"), ActionClass.FILE_WRITE),
    **dict.fromkeys(("WebFetch", "WebSearch"), ActionClass.NETWORK),
    **dict.fromkeys(("Task", "Agent"), ActionClass.DISPATCH),
}
_DETAILS = ("file_path", "command", "pattern", "path", "url", "notebook_path", "description")
DETAIL_CHARS = 200


def action_of(tool: str, given: dict[str, Any]) -> ActionClass:
    """The action class of one call; a shell command is looked at."""
    if tool == "Bash":
        return shell_action(text_of(given.get("command")))
    return _ACTIONS.get(tool, ActionClass.UNKNOWN)


def detail_of(given: dict[str, Any]) -> str:
    """The path, command or pattern that the call is about."""
    return next((clip(v, DETAIL_CHARS) for k in _DETAILS if (v := text_of(given.get(k)))), "")


def is_denied(block: dict[str, Any], meta: dict[str, Any]) -> bool:
    """Whether a tool result says that the call was not let through.

    A tool that `--tools` took away leaves no entry in `permission_denials`, only this text.
    """
    if block.get("is_error") is not True:
        return False
    if dict_of(meta.get("permission_decision")).get("decision") in ("reject", "deny"):
        return True
    content = block.get("content")
    texts = [content] if isinstance(content, str) else [b.get("text") for b in map(dict_of, list_of(content))]
    return any("No such tool available" in text_of(t)[:200] for t in texts)
