"""What the runtime `native` can do, and its parts."""

from __future__ import annotations

from node_agent.runtimes.base import Capabilities, Runtime
from node_agent.runtimes.native import command
from node_agent.runtimes.native.parse import NativeParser

RUNTIME = Runtime(
    "native",
    Capabilities(
        stream=True,
        tells_ran=True,
        usage=True,
        resume=True,
        read_only_enforced=True,
        tool_list=True,
        turn_limit=True,
        needs_model=True,
        prompted=True,
        reasoning=frozenset(command.LEVELS),
        narrows=True,
        tells_turns=True,
    ),
    command.launch,
    NativeParser,
    command.enforcement,
    command.PROBE,
    command.CREDENTIALS,
)
