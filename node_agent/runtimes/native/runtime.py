"""The runtime `native`, PanCode's worker, which is part of the node agent: its abilities and its launch."""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.runtimes.base import LaunchRequest, Place, Probe, ProcessSpec, Runtime, Said, any_given
from node_agent.runtimes.starting import held_but_full_auto
from node_agent.runtimes.vendors import LOGINS
from node_agent.runtimes.workers import CAPABILITIES, CREDENTIALS, LOGIN, launch_worker
from node_agent.runtimes.workerspec import SESSION, VERSION
from node_agent.runtimes.workerstream import WorkerParser
from node_agent.wire.node import RuntimeFact

PROGRAM = "native/program.py"
"""The worker's program in the node agent's own code."""


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """Return the launch, with only the one key that the worker needs."""
    return launch_worker(PROGRAM, request, place)


enforcement = held_but_full_auto
"""The kernel limits the worker's file tools to the checkout. Without a sandbox, only full-auto allows
commands."""


def _read_probe(results: Sequence[Said]) -> RuntimeFact:
    """Return the fact: ready if a login variable is set, else not logged in. The worker needs no install."""
    (given, _) = [*results, (None, "")][0]
    if given != 0:
        return RuntimeFact(name="native", version=VERSION, state="not_logged_in", fix=LOGIN)
    return RuntimeFact(name="native", version=VERSION, state="ok")


PROBE = Probe((any_given(LOGINS),), _read_probe)
RUNTIME = Runtime(
    "native", CAPABILITIES, launch, WorkerParser, enforcement, PROBE, CREDENTIALS, sessions=(SESSION,)
)
