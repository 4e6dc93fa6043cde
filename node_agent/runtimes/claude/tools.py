"""Classifies a tool call of Claude Code, and determines whether it was denied."""

from __future__ import annotations

import re
from typing import Any

from node_agent.runtimes.base import Ran, ToolCall
from node_agent.runtimes.lines import dict_of, list_of, text_of
from node_agent.runtimes.outcome import tool_table
from node_agent.wire.policy import ActionClass

call_of = tool_table(
    "Bash",
    {
        ActionClass.FILE_READ: "Read Grep Glob LS NotebookRead TodoWrite Skill",
        ActionClass.FILE_WRITE: "Edit MultiEdit Write NotebookEdit",
        ActionClass.NETWORK: "WebFetch WebSearch",
        ActionClass.DISPATCH: "Task Agent",
    },
    "file_path command pattern path url notebook_path description",
    "file_path path notebook_path",
)


def is_denied(block: dict[str, Any], meta: dict[str, Any]) -> bool:
    """Whether a tool result states that the call was denied. For a tool removed by `--tools` there is no
    entry in `permission_denials`, only this text."""
    if block.get("is_error") is not True:
        return False
    if dict_of(meta.get("permission_decision")).get("decision") in ("reject", "deny"):
        return True
    content = block.get("content")
    texts = [content] if isinstance(content, str) else [b.get("text") for b in map(dict_of, list_of(content))]
    return any("No such tool available" in text_of(t)[:200] for t in texts)


_EXIT = re.compile(r"Exit code (\d{1,3})\n?")


def end_of_call(call: ToolCall, answer: str, ok: bool) -> Ran:
    """Return the end of a call. The program reports the exit status of a failed command in its answer only,
    and none for a command that it could not start."""
    found = _EXIT.match(answer) if call.command else None
    if found is not None:
        return Ran(call, ok, answer[found.end() :], int(found[1]))
    return Ran(call, ok, answer, 0 if ok and call.command else None)
