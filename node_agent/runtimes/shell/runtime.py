"""The runtime `shell`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes.base import Capabilities, Runtime
from node_agent.runtimes.shell import command
from node_agent.runtimes.shell.parse import ShellParser

RUNTIME = Runtime(
    "shell",
    Capabilities(own=True),
    command.launch,
    lambda request: ShellParser(),
    command.enforcement,
    command.PROBE,
)
