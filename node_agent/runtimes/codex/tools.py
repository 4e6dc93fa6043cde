"""Classifies an item of Codex's stream; a shell command is parsed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from node_agent.policy.commands.tree import MOST_BYTES
from node_agent.runtimes.base import ToolCall, keep_end
from node_agent.runtimes.lines import dict_of, list_of, text_of
from node_agent.runtimes.outcome import DETAIL_CHARS, shell_call
from node_agent.wire.policy import ActionClass

_WRAPPED = re.compile(r"""\S*sh -l?c (?:(?P<mark>['"])(?P<quoted>.*)(?P=mark)|(?P<bare>\S+))$""", re.DOTALL)
PATH_CHARS = 4096
"""The maximum number of characters of a path; a longer text is not a path and is not stored."""
_PLAIN = {
    "mcp_tool_call": (ActionClass.UNKNOWN, "tool"),
    "web_search": (ActionClass.NETWORK, "query"),
    "collab_tool_call": (ActionClass.DISPATCH, "tool"),
}


_PATCHED = re.compile(r"^\*\*\* (Add File|Update File|Delete File|Move to): (.+?)\s*$", re.MULTILINE)


def hook_call(tool: str, given: dict[str, Any]) -> ToolCall:
    """Return the call as the program's hook gets it: a command, or a patch as a text."""
    text = text_of(given.get("command"))
    if tool != "apply_patch":
        return shell_call(tool, text)
    found = _PATCHED.findall(text)
    return _change(tuple(path for _, path in found), any(verb == "Delete File" for verb, _ in found))


def call_of(item: dict[str, Any]) -> ToolCall | None:
    """Return the tool call in the item; None for messages, reasoning, lists and warnings."""
    kind = item.get("type")
    if kind == "command_execution":
        command = text_of(item.get("command"))
        return (
            _make_command_call(command)
            if len(command) <= MOST_BYTES
            else shell_call(kind, _unwrap_script(command))
        )
    if kind == "file_change":
        changes = item.get("changes")
        if type(changes) is list and len(changes) == 1:  # the usual case
            change = dict_of(changes[0])
            path, deletes = text_of(change.get("path")), change.get("kind") == "delete"
            return _one_change(path, deletes) if len(path) <= PATH_CHARS else _change((path,), deletes)
        return _make_changes_call([dict_of(change) for change in list_of(changes)])
    plain = _PLAIN.get(text_of(kind))
    if plain is None:
        return None
    action, detail = plain
    return ToolCall(text_of(kind), action, keep_end(text_of(item.get(detail)), DETAIL_CHARS))


@lru_cache(maxsize=64)
def _make_command_call(command: str) -> ToolCall:
    """Return the call of a command, which is reported twice, at its start and at its end."""
    return shell_call("command_execution", _unwrap_script(command))


@lru_cache(maxsize=64)
def _one_change(path: str, deletes: bool) -> ToolCall:
    return _change((path,), deletes)


def _make_changes_call(changes: list[dict[str, Any]]) -> ToolCall:
    paths = tuple([text_of(change.get("path")) for change in changes])
    return _change(paths, "delete" in [change.get("kind") for change in changes])


def _change(paths: tuple[str, ...], deletes: bool) -> ToolCall:
    action = ActionClass.FILE_DELETE if deletes else ActionClass.FILE_WRITE
    return ToolCall("file_change", action, keep_end(", ".join(paths), DETAIL_CHARS), paths=paths)


def _unwrap_script(command: str) -> str:
    """Return the script inside `/bin/bash -lc '...'`, the form in which every command is reported."""
    wrapped = _WRAPPED.match(command)
    return (wrapped["quoted"] or wrapped["bare"]) if wrapped else command
