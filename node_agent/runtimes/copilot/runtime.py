"""The runtime `copilot`: its abilities and the functions that implement it."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import AGENT_PROGRAM, Runtime
from node_agent.runtimes.copilot import command
from node_agent.runtimes.copilot.parse import CopilotParser
from node_agent.runtimes.starting import held_but_full_auto

RUNTIME = Runtime(
    "copilot",
    replace(
        AGENT_PROGRAM,
        tool_list=True,
        asks_users=True,
        reasoning=frozenset(command.LEVELS),
        narrows=True,
        tells_turns=True,
    ),
    command.launch,
    headless_or_talked(CopilotParser),
    held_but_full_auto,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    sessions=command.ACP.memory,
    loose_turns="runs the hooks in .github/hooks, and writes below the node's temporary folder",
)
