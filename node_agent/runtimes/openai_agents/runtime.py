"""The runtime `openai-agents`: its abilities and its parts."""

from __future__ import annotations

from node_agent.runtimes.base import Runtime
from node_agent.runtimes.openai_agents import command
from node_agent.runtimes.workers import CAPABILITIES, CREDENTIALS
from node_agent.runtimes.workerspec import SESSION
from node_agent.runtimes.workerstream import WorkerParser

RUNTIME = Runtime(
    "openai-agents",
    CAPABILITIES,
    command.launch,
    WorkerParser,
    command.enforcement,
    command.PROBE,
    CREDENTIALS,
    command.PROGRAM,
    sessions=(SESSION,),
)
