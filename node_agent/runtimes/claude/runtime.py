"""The runtime `claude`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes import adapters
from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.anthropic import CREDENTIALS, LEVELS
from node_agent.runtimes.base import Capabilities, Runtime
from node_agent.runtimes.claude import command
from node_agent.runtimes.claude.parse import ClaudeParser
from node_agent.runtimes.starting import held_but_full_auto

RUNTIME = Runtime(
    "claude",
    Capabilities(
        stream=True,
        tells_ran=True,
        usage=True,
        cost=True,
        resume=True,
        read_only_enforced=True,
        tool_list=True,
        turn_limit=True,
        budget_limit=True,
        prompted=True,
        asks_first=True,
        asks_people=True,
        reasoning=frozenset(LEVELS),
        narrows=True,
        tells_turns=True,
        takes_turns=True,
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
