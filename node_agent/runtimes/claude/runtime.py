"""The runtime `claude`: its abilities and the functions that implement it."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes import adapters
from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.anthropic import CREDENTIALS, LEVELS
from node_agent.runtimes.base import AGENT_PROGRAM, Runtime
from node_agent.runtimes.claude import command
from node_agent.runtimes.claude.parse import ClaudeParser
from node_agent.runtimes.starting import held_but_full_auto

RUNTIME = Runtime(
    "claude",
    replace(
        AGENT_PROGRAM,
        cost=True,
        tool_list=True,
        turn_limit=True,
        budget_limit=True,
        asks_users=True,
        reasoning=frozenset(LEVELS),
        narrows=True,
        tells_turns=True,
    ),
    command.launch,
    headless_or_talked(ClaudeParser),
    held_but_full_auto,
    command.PROBE,
    CREDENTIALS,
    command.PROGRAM,
    adapter=adapters.CLAUDE,
    sessions=("claude/projects",),
)
