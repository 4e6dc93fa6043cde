"""The runtime `native`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes.base import Runtime
from node_agent.runtimes.native import command
from node_agent.runtimes.workers import CAPABILITIES, CREDENTIALS
from node_agent.runtimes.workerspec import SESSION
from node_agent.runtimes.workerstream import WorkerParser

RUNTIME = Runtime(
    "native",
    CAPABILITIES,
    command.launch,
    WorkerParser,
    command.enforcement,
    command.PROBE,
    CREDENTIALS,
    sessions=(SESSION,),
)
