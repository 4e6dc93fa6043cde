"""The runtime `scripted`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes.base import Capabilities, Runtime
from node_agent.runtimes.scripted import command
from node_agent.runtimes.scripted.parse import ScriptedParser

RUNTIME = Runtime(
    "scripted",
    Capabilities(
        stream=True,
        tells_ran=True,
        usage=True,
        cost=True,
        read_only_enforced=True,
        budget_limit=True,
        own=True,
        prompted=True,
    ),
    command.launch,
    lambda request: ScriptedParser(),
    command.enforcement,
    command.PROBE,
)
