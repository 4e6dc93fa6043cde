"""Classifies a shell tool call by the effect of its command, word by word."""

from __future__ import annotations

from functools import lru_cache

from node_agent.policy.commands.reading import read_command
from node_agent.policy.commands.tree import MOST_BYTES
from node_agent.runtimes.base import ToolCall, clip
from node_agent.wire.policy import ActionClass

DETAIL_CHARS = 200


@lru_cache(maxsize=256)
def shell_action(command: str) -> ActionClass:
    """The gravest class among the commands of one script."""
    return read_command(command).action


def shell_call(tool: str, command: str) -> ToolCall:
    """Longer than can be read is kept as one character more, so that it is not read by half."""
    if len(command) <= MOST_BYTES:
        return _call(tool, command)
    whole = command[: MOST_BYTES + 1]
    return ToolCall(tool, shell_action(whole), clip(command, DETAIL_CHARS), command=whole)


@lru_cache(maxsize=64)
def _call(tool: str, command: str) -> ToolCall:
    """A program tells of the same call twice or more: begun, under way, over."""
    return ToolCall(tool, shell_action(command), clip(command, DETAIL_CHARS), command=command)
