"""Gate 5: whether there is a task that can be carried to a node."""

from __future__ import annotations

from node_agent.wire.model import MOST
from node_agent.wire.order import MAX_TASK_BYTES
from node_agent.wire.receipt import MOST_STEPS
from node_agent.wire.signing import MAX_ENVELOPE_BYTES
from pancode.agents.request import AdmissionView
from pancode.dispatch.admission.gate import GateVerdict, passed, refused
from pancode.dispatch.resolve import Resolution
from pancode.life.orders import may_exceed, size_of

NAME = "task"
_LARGEST_WORKSPACE: dict[str, object] = {
    "kind": "git",
    "repo": 80 * "x",
    "base": 64 * "f",
    "snapshot": 64 * "f",
    "object_format": "sha256",
}


def judge(resolution: Resolution, view: AdmissionView) -> GateVerdict:
    argv, task = resolution.request.argv, resolution.request.task
    verdict = _command(argv) if argv is not None else _task(task)
    verdict = _counted(resolution, verdict) if verdict.passed else verdict
    return _carried(resolution, verdict) if verdict.passed else verdict


def _task(task: str) -> GateVerdict:
    if not task.strip():
        return refused(NAME, "Dispatch blocked: the task is empty", 'give a task: pancode dispatch "..."')
    problem = _unfit(task)
    if problem:
        return refused(
            NAME, f"Dispatch blocked: the task {problem}", "put the material in a file and name the file"
        )
    return passed(NAME, f"{len(task)} characters")


def _command(argv: tuple[str, ...]) -> GateVerdict:
    problem = _unfit("\n".join(argv)) or ("holds a NUL" if any("\0" in word for word in argv) else "")
    if problem:
        return refused(NAME, f"Dispatch blocked: the argument list {problem}", "pass the material as a file")
    return passed(NAME, f"an argument list of {len(argv)} words")


def _counted(resolution: Resolution, verdict: GateVerdict) -> GateVerdict:
    """A node runs only this many commands in one phase."""
    for what, commands in (("verify", resolution.gates), ("setup", resolution.setup)):
        if len(commands) > MOST_STEPS:
            words = f"Dispatch blocked: {len(commands)} commands of {what}, a node runs {MOST_STEPS} at most"
            return refused(NAME, words, f"put several of them into one script, and name it in {what}")
    return verdict


def _carried(resolution: Resolution, verdict: GateVerdict) -> GateVerdict:
    """A node refuses a larger order unread, so nobody would ever hear of it again."""
    run = resolution.run(f"r-{24 * 'x'}", MOST, 64 * "x", _LARGEST_WORKSPACE)
    if not may_exceed(run, MAX_ENVELOPE_BYTES):
        return verdict
    size = size_of(run)
    if size <= MAX_ENVELOPE_BYTES:
        return verdict
    return refused(
        NAME,
        f"Dispatch blocked: the order would have {size} bytes, at most {MAX_ENVELOPE_BYTES} are carried",
        "put the material in files of the repository: the task, the agent's prompt, the commands of --verify "
        "and setup travel in the order",
    )


def _unfit(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not valid text"
    return f"has {size} bytes, at most {MAX_TASK_BYTES} are carried" if size > MAX_TASK_BYTES else ""
