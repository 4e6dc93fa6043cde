"""The runtime `claude-sdk`: its abilities and its parts."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes.anthropic import CREDENTIALS, LEVELS
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.claude_sdk import command
from node_agent.runtimes.workers import CAPABILITIES
from node_agent.runtimes.workerstream import WorkerParser

RUNTIME = Runtime(
    "claude-sdk",
    replace(CAPABILITIES, tells_turns=False, reasoning=frozenset(LEVELS)),
    command.launch,
    WorkerParser,
    command.enforcement,
    command.PROBE,
    CREDENTIALS,
    command.PROGRAM,
    sessions=("claude/projects",),
)
