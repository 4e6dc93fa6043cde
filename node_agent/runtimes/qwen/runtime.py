"""The runtime `qwen`: its abilities and its parts."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import AGENT_PROGRAM, Runtime
from node_agent.runtimes.qwen import command
from node_agent.runtimes.qwen.parse import QwenParser

RUNTIME = Runtime(
    "qwen",
    replace(
        AGENT_PROGRAM, turn_limit=True, reasoning=frozenset(command.LEVELS), narrows=True, tells_turns=True
    ),
    command.launch,
    headless_or_talked(QwenParser),
    command.enforcement,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    sessions=command.ACP.memory,
)
