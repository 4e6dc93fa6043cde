"""The runtime `opencode`: its abilities and the functions that implement it."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import AGENT_PROGRAM, Brought, Runtime
from node_agent.runtimes.opencode import command
from node_agent.runtimes.opencode.parse import OpencodeParser
from node_agent.runtimes.starting import held_but_full_auto

BROUGHT = (
    *(Brought(f".opencode/{name}/*.{kind}") for name in ("plugin", "plugins") for kind in ("js", "ts")),
    *(Brought(f"{at}opencode.{kind}", "plugin") for at in ("", ".opencode/") for kind in ("json", "jsonc")),
)
"""The program scans the checkout despite `--pure` and the switch for a project's settings."""
RUNTIME = Runtime(
    "opencode",
    replace(
        AGENT_PROGRAM,
        tool_list=True,
        asks_users=True,
        reasoning=frozenset(command.LEVELS),
        narrows=True,
        tells_turns=True,
    ),
    command.launch,
    headless_or_talked(OpencodeParser),
    held_but_full_auto,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    BROUGHT,
    sessions=command.ACP.memory,
)
