"""Gate 5: whether there is a task that can be carried to a node."""

from __future__ import annotations

from node_agent.wire.order import MAX_TASK_BYTES
from pancode.domain.admission.gate import Verdict, passed, refused
from pancode.domain.resolve import Resolution
from pancode.domain.snapshot import AdmissionView

NAME = "task"


def judge(resolution: Resolution, view: AdmissionView) -> Verdict:
    argv, task = resolution.request.argv, resolution.request.task
    if argv is not None:
        return _command(argv)
    if not task.strip():
        return refused(
            NAME, "Dispatch blocked: the task is empty", 'say what is to be done: pancode dispatch "..."'
        )
    problem = _unfit(task)
    if problem:
        return refused(
            NAME, f"Dispatch blocked: the task {problem}", "put the material in a file and name the file"
        )
    return passed(NAME, f"{len(task)} characters")


def _command(argv: tuple[str, ...]) -> Verdict:
    problem = _unfit("\n".join(argv)) or ("holds a NUL" if any("\0" in word for word in argv) else "")
    if problem:
        return refused(NAME, f"Dispatch blocked: the argument list {problem}", "pass the material as a file")
    return passed(NAME, f"an argument list of {len(argv)} words")


def _unfit(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not valid text"
    return f"has {size} bytes, at most {MAX_TASK_BYTES} are carried" if size > MAX_TASK_BYTES else ""
