"""The runtime `openai-agents`: its abilities, and its launch with the native worker's settings."""

from __future__ import annotations

from node_agent.runtimes.base import LaunchRequest, Place, ProcessSpec, Program, Runtime
from node_agent.runtimes.starting import held_but_full_auto, make_probe
from node_agent.runtimes.vendors import LOGINS
from node_agent.runtimes.workers import CAPABILITIES, CREDENTIALS, LOGIN, SDK_HOST, launch_worker
from node_agent.runtimes.workerspec import SESSION
from node_agent.runtimes.workerstream import WorkerParser

PROGRAM = Program("openai-agents", "openai-agents", r"(\d+\.\d+\.\d+\S*)\Z", "0.24.", LOGIN, environment=True)
DRIVER = "openai_agents.py"
PROBE = make_probe(PROGRAM, LOGINS)


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Return a launch like the native worker's, but started through the link to the SDK's Python."""
    return launch_worker(SDK_HOST, request, place, PROGRAM.name, DRIVER)


enforcement = held_but_full_auto
"""The tools are PanCode's: the node agent's code checks and executes their calls."""
RUNTIME = Runtime(
    "openai-agents",
    CAPABILITIES,
    launch,
    WorkerParser,
    enforcement,
    PROBE,
    CREDENTIALS,
    PROGRAM,
    sessions=(SESSION,),
)
