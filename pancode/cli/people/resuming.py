"""`pancode tell --resume`: continues an ended run with the words that its agent was not given."""

from __future__ import annotations

from typing import Any

from pancode.cli.face import Face, who
from pancode.cli.follow import wait
from pancode.cli.runs.newrun import follow_new
from pancode.client import path_of
from pancode.errors import ExitCode, RefusedError

AT_A_TURN = "at a turn of its agent"


def resume(face: Face, run: str) -> int | None:
    """Wait for the end of this run, then continue it with what it was not given; the status of the new run.

    None: there is nothing to continue with. RefusedError where a new run would surprise the person.
    """
    client = face.client()
    if wait(face, client, run) is None:
        face.note(f"the run keeps the words; to continue it with them: pancode runs continue {run}")
        return ExitCode.DETACHED
    ended = client.get(path_of("runs", run))
    if all(row["delivered"] for row in ended["told"]):
        return None
    refused = why_not(ended)
    if refused is not None:
        raise refused
    return follow_new(face, path_of("runs", run, "continue"), {"by": who(), "text": ""}, detach=False)


def why_not(ended: dict[str, Any]) -> RefusedError | None:
    """Why no run goes on from this one by itself; the words are kept then."""
    run, kept = ended["run"], "its agent was not given the words; the words are kept"
    go_on = f"pancode runs continue {run}"
    if ended["outcome"] == "blocked":
        return _refused(run, "it asks a person a question", kept, f'pancode answer {run} "..."')
    if ended["outcome"] == "interrupted":
        return _refused(run, "somebody stopped it", kept, go_on)
    if ended["workflow"] is not None:
        return _refused(
            run, f"it is a step of {ended['workflow']}, and the workflow goes on without it", kept, go_on
        )
    if ended["continued_by"]:
        newest = ended["continued_by"][-1]
        return _refused(run, f"{newest} has continued it already", kept, f'pancode tell {newest} "..."')
    return None


def _refused(run: str, what: str, why: str, fix: str) -> RefusedError:
    return RefusedError(f"{run} is not continued: {what}", why=why, fix=fix, code="not_resumed")
