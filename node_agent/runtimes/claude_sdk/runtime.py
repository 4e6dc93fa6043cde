"""The runtime `claude-sdk`: its abilities and its launch, with rules in a file and the task on stdin."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runtimes.anthropic import CREDENTIALS, LEVELS, LOGIN, LOGINS, quiet_env
from node_agent.runtimes.base import LaunchRequest, Place, ProcessSpec, Program, Runtime, base_env
from node_agent.runtimes.starting import held_but_full_auto, make_probe
from node_agent.runtimes.vendors import PROVIDERS
from node_agent.runtimes.workers import CAPABILITIES, SDK_HOST, launch_of, spec_of
from node_agent.runtimes.workerstream import WorkerParser

PROGRAM = Program("claude-sdk", "claude-agent-sdk", r"(\d+\.\d+\.\d+\S*)\Z", "0.2.", LOGIN, environment=True)
DRIVER = "claude_sdk.py"
PROBE = make_probe(PROGRAM, LOGINS)


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Return the launch of the SDK's program, with the login variables of Claude."""
    env = quiet_env(request, base_env(request, place))
    limits = request.limits
    most = [number for number in (limits.turns, limits.requests) if number is not None]
    base = spec_of(request, place, (PROVIDERS["anthropic"], request.model or ""), env, True)
    spec = base.model_copy(
        update={
            "is_hosted": True,
            "hidden": CREDENTIALS,
            "thinks": LEVELS[request.reasoning][0] if request.reasoning else "",
            "turns": None if limits.wrap_up or not most else min(most),
        }
    )
    launch = launch_of(SDK_HOST, request, place, env, spec, PROGRAM.name, DRIVER)
    return ProcessSpec(launch.argv, launch.env, launch.stdin, {**launch.files, "claude/.keep": b""})


enforcement = held_but_full_auto
"""The tools are PanCode's: the node agent's code checks and executes their calls."""
RUNTIME = Runtime(
    "claude-sdk",
    replace(CAPABILITIES, tells_turns=False, reasoning=frozenset(LEVELS)),
    launch,
    WorkerParser,
    enforcement,
    PROBE,
    CREDENTIALS,
    PROGRAM,
    sessions=("claude/projects",),
)
