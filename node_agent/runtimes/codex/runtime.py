"""The runtime `codex`: its abilities and the functions that implement it."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes import adapters
from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import AGENT_PROGRAM, Runtime
from node_agent.runtimes.codex import command
from node_agent.runtimes.codex.parse import CodexParser

RUNTIME = Runtime(
    "codex",
    replace(AGENT_PROGRAM, reasoning=frozenset(command.LEVELS)),
    command.launch,
    headless_or_talked(CodexParser),
    command.find_enforcement,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    adapter=adapters.CODEX,
    sessions=("codex/sessions",),
    loose_turns="writes below the node's temporary folder",
)
