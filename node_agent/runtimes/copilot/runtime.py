"""The runtime `copilot`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import Capabilities, Runtime
from node_agent.runtimes.copilot import command
from node_agent.runtimes.copilot.parse import CopilotParser
from node_agent.runtimes.starting import held_but_full_auto

RUNTIME = Runtime(
    "copilot",
    Capabilities(
        stream=True,
        tells_ran=True,
        usage=True,
        resume=True,
        read_only_enforced=True,
        tool_list=True,
        prompted=True,
        asks_first=True,
        asks_people=True,
        reasoning=frozenset(command.LEVELS),
        narrows=True,
        tells_turns=True,
        takes_turns=True,
    ),
    command.launch,
    headless_or_talked(CopilotParser),
    held_but_full_auto,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    sessions=("copilot/session-state", "copilot/session-store.db", "copilot/session-store.db-wal"),
    loose_turns="runs the hooks in .github/hooks, and writes below the machine's temporary folder",
)
