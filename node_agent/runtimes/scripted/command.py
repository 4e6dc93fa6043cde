"""Starts the scripted stand-in with the node's own Python, the task on standard input."""

from __future__ import annotations

import os.path
from collections.abc import Sequence

from node_agent.runtimes.base import LaunchRequest, Place, Probe, ProcessSpec, base_env, may_write, own_files
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety

PROMPT = "prompt.md"
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py")


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """`python3 -I -S program.py`: no site packages, nothing of the user's Python settings."""
    argv = [place.python, "-I", "-S", PROGRAM]
    if not request.may_write:
        argv.append("--read-only")
    if request.model:
        argv += ["--model", request.model]
    if request.limits.usd is not None:
        argv += ["--max-usd", format(request.limits.usd, "f")]
    files = own_files(request)
    if request.prompt:
        files[PROMPT] = request.prompt.encode("utf-8", "surrogateescape")
        argv += ["--prompt", f"{request.home}/{PROMPT}"]
    stdin = request.task.encode("utf-8", "surrogateescape")
    return ProcessSpec(tuple(argv), base_env(request, place), stdin, files)


def enforcement(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """It obeys --read-only, unless its script says `force`: it is there to misbehave."""
    if isolation is Isolation.SANDBOX:
        return Enforcement.SANDBOX
    return Enforcement.TOLD_ONLY if may_write(mode, safety, read_only) else Enforcement.RUNTIME


def read_probe(results: Sequence[tuple[int | None, str]]) -> RuntimeFact:
    """It comes with the node agent, so it is always there."""
    return RuntimeFact(name="scripted", version="1", state="ok")


PROBE = Probe((), read_probe)
