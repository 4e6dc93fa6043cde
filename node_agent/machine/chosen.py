"""The programs that the node's owner names in the ceiling file, as runtimes of this node."""

from __future__ import annotations

import sys

from node_agent.attempt.accept import Ceiling
from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.others import runtime_of
from node_agent.runtimes.workers import OPTIMISED

ASKER = (sys.executable, "-I", "-S", *OPTIMISED, f"{PACKAGE}/acp/asking.py", PACKAGE, LIBRARIES)
"""The command of our program that checks whether a program supports ACP; that program's command follows."""


def others_of(ceiling: Ceiling) -> dict[str, Runtime]:
    """Return the runtimes that the owner has chosen, by name."""
    made = (runtime_of(name, agent, ASKER) for name, agent in ceiling.acp.items())
    return {runtime.name: runtime for runtime in made}
