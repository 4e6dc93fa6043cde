"""Starts a shell script, or exactly an argument list, in the workspace."""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.runtimes.base import LaunchRequest, Place, Probe, ProcessSpec, base_env, may_write, own_files
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety

SCRIPT = "task.sh"


def launch(request: LaunchRequest, place: Place) -> ProcessSpec:
    """`sh -eu FILE` with the task as the file's text, outside the checkout; or the argument list as it is."""
    env = base_env(request, place)
    if request.argv is not None:
        return ProcessSpec(request.argv, env, b"", own_files(request))
    script = request.task if request.task.endswith("\n") else request.task + "\n"
    files = {**own_files(request), SCRIPT: script.encode("utf-8", "surrogateescape")}
    return ProcessSpec(("sh", "-eu", f"{request.home}/{SCRIPT}"), env, b"", files)


def enforcement(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """A shell holds no rule by itself: a wall does, or the script's author is trusted to have meant it."""
    if isolation is Isolation.SANDBOX:
        return Enforcement.SANDBOX
    return Enforcement.TOLD_ONLY if may_write(mode, safety, read_only) else Enforcement.IMPOSSIBLE


def read_probe(results: Sequence[tuple[int | None, str]]) -> RuntimeFact:
    """Any POSIX shell will do."""
    found = bool(results) and results[0][0] == 0
    fix = "" if found else "install a POSIX shell as `sh`"
    return RuntimeFact(name="shell", state="ok" if found else "missing", fix=fix)


PROBE = Probe((("sh", "-c", ":"),), read_probe)
