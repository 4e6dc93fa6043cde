"""The runtime `gemini`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import Capabilities, Runtime
from node_agent.runtimes.gemini import command, thinking
from node_agent.runtimes.gemini.parse import GeminiParser
from node_agent.runtimes.starting import held_but_full_auto

RUNTIME = Runtime(
    "gemini",
    Capabilities(
        stream=True,
        tells_ran=True,
        usage=True,
        resume=True,
        read_only_enforced=True,
        turn_limit=True,
        prompted=True,
        asks_first=True,
        reasoning=frozenset(thinking.LEVELS),
        narrows=True,
        tells_turns=True,
        takes_turns=True,
    ),
    command.launch,
    headless_or_talked(GeminiParser),
    held_but_full_auto,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    sessions=(".gemini/tmp", ".gemini/history", ".gemini/projects.json"),
)
