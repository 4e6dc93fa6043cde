"""The runtime `qwen`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import Capabilities, Runtime
from node_agent.runtimes.qwen import command
from node_agent.runtimes.qwen.parse import QwenParser

RUNTIME = Runtime(
    "qwen",
    Capabilities(
        stream=True,
        tells_ran=True,
        usage=True,
        resume=True,
        read_only_enforced=True,
        turn_limit=True,
        prompted=True,
        asks_first=True,
        reasoning=frozenset(command.LEVELS),
        narrows=True,
        tells_turns=True,
        takes_turns=True,
    ),
    command.launch,
    headless_or_talked(QwenParser),
    command.enforcement,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    sessions=(".qwen/projects",),
)
