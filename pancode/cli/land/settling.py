"""`pancode land RUN --resolve`: follows the run that settles the conflict, and its landing."""

from __future__ import annotations

from typing import Any

from pancode.cli.catalog.exams import admitted
from pancode.cli.face import Face, who
from pancode.cli.follow import summary, wait
from pancode.cli.land.landing import landed, unless_landed
from pancode.cli.output.render import safe
from pancode.cli.output.tell import exit_of
from pancode.client import path_of
from pancode.errors import ExitCode


def settle(face: Face, run: str, body: dict[str, Any], *, detach: bool) -> int:
    """The exit status is that of the run's outcome, or of a landing that failed after it."""
    path = path_of("runs", run, "land", "resolve")
    answer = admitted(face, face.client(works=True), path, {"by": who(), **body})
    for warning in answer.pop("warnings", []):
        face.note(f"warning: {safe(warning)}")
    if detach:
        face.show(answer, lambda: f"{answer['run']}  {answer['state']}  settles the conflict of {run}\n")
        return ExitCode.DONE
    client = face.client()
    ended = wait(face, client, answer["run"])
    whole = landed(face, client, ended["run"]) if ended is not None else None
    if whole is None:
        return ExitCode.DETACHED
    face.show(whole, lambda: summary(whole))
    unless_landed(whole)
    return exit_of(whole["outcome"])
