"""Makes a new run from an old one, and follows it to its end unless told not to."""

from __future__ import annotations

from typing import Any

from pancode.cli.catalog.exams import admitted
from pancode.cli.face import Face
from pancode.cli.follow import summary, wait
from pancode.cli.output.render import safe
from pancode.cli.output.tell import exit_of
from pancode.client import path_of
from pancode.errors import ExitCode


def follow_new(face: Face, path: str, body: dict[str, Any], detach: bool) -> int:
    """Ask for the run; the exit status is that of its outcome, unless nobody waits for it."""
    answer = admitted(face, face.client(works=True), path, body)
    for warning in answer.pop("warnings", []):
        face.note(f"warning: {safe(warning)}")
    if "answer" in answer:
        face.note(f"answered: {safe(answer['answer'])}")
    if "workflow" in answer:
        flow = answer["workflow"]
        face.note(f"{flow} goes on with {answer['run']}; follow: pancode workflow show -f {flow}")
    if detach:
        face.show(answer, lambda: f"{answer['run']}  {answer['state']}  {safe(answer['reason'])}\n")
        return ExitCode.DONE
    client = face.client()
    ended = wait(face, client, answer["run"])
    if ended is None:
        return ExitCode.DETACHED
    findings = client.get(path_of("runs", ended["run"]))["findings"]
    return face.end(exit_of(ended["outcome"]), ended, lambda: summary({**ended, "findings": findings}))
