"""The parts of a machine that a phase in the sandbox sees: programs, files of ours, the gateway's gate."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from node_agent.attempt.plans import DEPTH
from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.runtimes.hooks import GUARDED, RULES
from node_agent.sandbox import relay
from node_agent.sandbox.policy import Network, View
from node_agent.shim.spool import PhasePlan, StepKind
from node_agent.workspace.folders import open_to_readers

GATE = "gate"
"""In an attempt's folder: the folder of the model gateway's socket."""
SOCKET = "model.sock"
RELAY = relay.__file__
"""The program of ours that leads to the model gateway."""


def relay_words(view: View, port: int) -> tuple[str, ...]:
    """The beginning of a step's command, where its model is behind the gateway."""
    if view.network is not Network.MODEL:
        return ()
    python = os.path.realpath(sys.executable)
    return (python, "-I", "-S", RELAY, str(port), f"{view.gate}/{SOCKET}", "--")


def open_own(plan: PhasePlan) -> None:
    """Our own code that is run inside may be as root unpacked it: for root alone."""
    for folder in (os.path.dirname(RELAY), *own_folders(plan)):
        open_to_readers(Path(folder))


def named_programs(plan: PhasePlan) -> Iterator[str]:
    """The programs that are shown with all that they were installed with: the agent's, and names along PATH.

    A path is believed only of an agent that a person started: a repository that names one as its gate, or a
    run that dispatches another, would choose what of the machine is seen.
    """
    own = plan.env.get(DEPTH, "0") == "0"
    for step in plan.steps:
        if "/" not in step.argv[0] or (own and step.kind is StepKind.AGENT):
            yield step.argv[0]


def own_folders(plan: PhasePlan) -> set[str]:
    """Of the node agent's own files that an agent is started with: all of them for a worker of ours."""
    agents = [step.argv for step in plan.steps if step.kind is StepKind.AGENT]
    folders = {word for argv in agents for word in argv if word in (PACKAGE, LIBRARIES)}
    if _has_hook(plan.env["HOME"]):
        folders |= {PACKAGE, LIBRARIES}
    return folders | {os.path.dirname(word) for argv in agents for word in argv if _is_ours(word)}


def _has_hook(home: str) -> bool:
    """Check whether its agent asks the run's policy before a tool call, by a program of ours."""
    return os.path.isfile(os.path.join(home, RULES))


def guarded(home: str) -> Iterator[str]:
    """Files of the home that tell the agent's program to ask: read-only, as the phase found them."""
    for name in GUARDED if _has_hook(home) else ():
        path = os.path.join(home, name)
        if os.path.exists(path) and os.path.realpath(path) == path:
            yield path


def is_clean(path: str) -> bool:
    return os.path.isabs(path) and os.path.normpath(path) == path and path != "/"


def _is_ours(word: str) -> bool:
    """A file of the node agent's own that a step is started with, such as the double's program."""
    return word.startswith(f"{PACKAGE}/") and is_clean(word) and os.path.isfile(word)
