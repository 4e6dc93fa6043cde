"""The runtime `opencode`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes.acp import headless_or_talked
from node_agent.runtimes.base import Brought, Capabilities, Runtime
from node_agent.runtimes.opencode import command
from node_agent.runtimes.opencode.parse import OpencodeParser
from node_agent.runtimes.starting import held_but_full_auto

BROUGHT = (
    *(Brought(f".opencode/{name}/*.{kind}") for name in ("plugin", "plugins") for kind in ("js", "ts")),
    *(Brought(f"{at}opencode.{kind}", "plugin") for at in ("", ".opencode/") for kind in ("json", "jsonc")),
)
"""Its own scan of the checkout heeds neither `--pure` nor what switches a project's settings off."""
RUNTIME = Runtime(
    "opencode",
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
    headless_or_talked(OpencodeParser),
    held_but_full_auto,
    command.PROBE,
    command.CREDENTIALS,
    command.PROGRAM,
    BROUGHT,
    sessions=("data/opencode/opencode.db", "data/opencode/opencode.db-wal"),
)
