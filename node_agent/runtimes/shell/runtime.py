"""The runtime `shell`: its abilities and the functions that implement it."""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.runtimes import base
from node_agent.runtimes.outcome import COMPLAINT_CHARS, read_complaints
from node_agent.wire.failure import FailureKind
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from node_agent.wire.receipt import Usage

SCRIPT = "task.sh"


def launch(request: base.LaunchRequest, place: base.Place) -> base.ProcessSpec:
    """Return the launch: `sh -eu FILE` (the task, in a file outside the checkout), or the given arguments."""
    env = base.base_env(request, place)
    if request.argv is not None:
        return base.ProcessSpec(request.argv, env, b"", base.own_files(request))
    script = request.task if request.task.endswith("\n") else request.task + "\n"
    files = {**base.own_files(request), SCRIPT: script.encode("utf-8", "surrogateescape")}
    return base.ProcessSpec(("sh", "-eu", f"{request.home}/{SCRIPT}"), env, b"", files)


def find_enforcement(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """Return how the rules are enforced: by the sandbox, or not, because a shell enforces no rules."""
    if isolation is Isolation.SANDBOX:
        return Enforcement.SANDBOX
    return Enforcement.TOLD_ONLY if base.may_write(mode, safety, read_only) else Enforcement.IMPOSSIBLE


def read_probe(results: Sequence[tuple[int | None, str]]) -> RuntimeFact:
    """Return the fact that a shell is available: any POSIX shell is enough."""
    found = bool(results) and results[0][0] == 0
    fix = "" if found else "install a POSIX shell as `sh`"
    return RuntimeFact(name="shell", state="ok" if found else "missing", fix=fix)


PROBE = base.Probe((("sh", "-c", ":"),), read_probe)


_KEEP = base.ANSWER_CHARS * 4  # a UTF-8 character has at most four bytes
_CANNOT_RUN = {
    126: "the script names a program that is not executable",
    127: "the script names a program that was not found",
}


class ShellParser:
    """A parser that stores only the end of the output."""

    def __init__(self) -> None:
        self._tail = b""

    @property
    def usage(self) -> Usage:
        return base.NOTHING

    def feed(self, chunk: bytes) -> list[base.Activity]:
        """Return every piece of output as text for a user who watches the run."""
        self._tail = (self._tail + chunk[-_KEEP:])[-_KEEP:]
        return [base.TextPiece(chunk.decode("utf-8", "replace"))] if chunk else []

    def finish(self, end: base.ExitInfo) -> base.RuntimeVerdict:
        """Return the verdict: success for exit 0, else the script's failure, even for a missing program."""
        failure, reason = self._judge(end)
        answer = base.keep_end(self._tail.decode("utf-8", "replace").strip())
        return base.RuntimeVerdict(failure, reason, answer, base.NOTHING)

    def _judge(self, end: base.ExitInfo) -> tuple[FailureKind | None, str]:
        if ours := base.ended_for_us(end):
            return ours
        if end.status == 0:
            return None, "exit 0"
        if end.status in _CANNOT_RUN:
            words = f"the script ended with exit status {end.status}: {_CANNOT_RUN[end.status]} (see its log)"
            return FailureKind.AGENT_FAILED, words
        last = [line[:COMPLAINT_CHARS] for line in read_complaints(end)[-1:]]
        return FailureKind.AGENT_FAILED, ": ".join((base.how_it_ended(end), *last))


RUNTIME = base.Runtime(
    "shell", base.Capabilities(own=True), launch, lambda request: ShellParser(), find_enforcement, PROBE
)
