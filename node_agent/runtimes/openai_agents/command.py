"""Starts our program of a run on OpenAI's Agents SDK: the native worker's settings, and the driver."""

from __future__ import annotations

from node_agent.runtimes.base import LaunchRequest, Place, ProcessSpec, Program
from node_agent.runtimes.starting import held_but_full_auto, keyed
from node_agent.runtimes.vendors import LOGINS
from node_agent.runtimes.workers import LOGIN, SDK_HOST, started

PROGRAM = Program("openai-agents", "openai-agents", r"(\d+\.\d+\.\d+\S*)\Z", "0.24.", LOGIN, environment=True)
DRIVER = "openai_agents.py"
PROBE = keyed(PROGRAM, LOGINS)


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Starts like the native worker, with the name of the link that leads to the SDK."""
    return started(SDK_HOST, request, place, PROGRAM.name, DRIVER)


enforcement = held_but_full_auto
"""Its tools are ours: judged and done on our side of the line."""
