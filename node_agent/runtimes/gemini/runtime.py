"""The runtime `gemini`: its abilities and the functions that implement it."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import AGENT_PROGRAM, Runtime
from node_agent.runtimes.gemini import command, thinking
from node_agent.runtimes.gemini.parse import GeminiParser
from node_agent.runtimes.starting import held_but_full_auto

RUNTIME = Runtime(
    "gemini",
    replace(
        AGENT_PROGRAM, turn_limit=True, reasoning=frozenset(thinking.LEVELS), narrows=True, tells_turns=True
    ),
    command.launch,
    headless_or_talked(GeminiParser),
    held_but_full_auto,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    sessions=command.ACP.memory,
)
