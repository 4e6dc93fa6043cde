"""`pancode land --all-green`: the list, the question, each outcome."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from pancode.caller import work_folder
from pancode.cli.face import Face, who
from pancode.cli.land.landing import FINE, LOOK_S, landing_line
from pancode.cli.output.render import clip, safe
from pancode.client import ApiError, Client, path_of
from pancode.counted import counted
from pancode.errors import ExitCode


def land_all(face: Face, body: dict[str, Any], *, yes: bool) -> tuple[ExitCode, bool]:
    """Queue all of them, in the order in which they ended, and tell how each landing ends.

    The exit status, and whether any of them landed.
    """
    client = face.client()
    rows: list[dict[str, Any]] = client.get("/v1/landings/green", folder=work_folder())["runs"]
    if not rows:
        face.show(
            {"landings": []},
            lambda: "nothing to land: no run here is done, with its gates passed and not landed\n",
        )
        return ExitCode.DONE, False
    shown = "".join(f"  {_row(row)}\n" for row in rows)
    where = f"branch {body['branch']}" if body.get("branch") else "your files"
    question = f"{counted(len(rows), 'run')} to land in {where}:\n{shown}Land them, one after the other?"
    if not yes and not face.agreed(question, "pancode land --all-green --yes"):
        return ExitCode.INTERRUPTED, False
    if yes:
        face.note(f"{counted(len(rows), 'run')} to land in {where}:\n{shown}".rstrip())
    ends = _ends(face, client, [row["run"] for row in rows], body)
    face.show({"landings": ends}, lambda: _summary(ends))
    fine = [one["status"] in FINE for one in ends]
    return ExitCode.DONE if all(fine) else ExitCode.PARTIAL, any(fine)


def _row(row: dict[str, Any]) -> str:
    files = counted(len(row["files_changed"]), "file")
    return f"{row['run']}  {files}  {clip(safe(row['task']), 60)}"


def _summary(ends: list[dict[str, Any]]) -> str:
    counts = Counter(safe(str(one.get("status", "unknown"))) for one in ends)
    return f"{counted(len(ends), 'run')}: {', '.join(f'{n} {status}' for status, n in counts.items())}\n"


def _ends(face: Face, client: Client, runs: list[str], body: dict[str, Any]) -> list[dict[str, Any]]:
    ends: list[dict[str, Any]] = []
    left = list(runs)
    try:
        refused = {run: refusal for run in runs if (refusal := _queued(client, run, body)) is not None}
        while left:
            end = {"run": left[0], **(refused.get(left[0]) or _end(client, left[0]))}
            left.pop(0)
            ends.append(end)
            if not face.as_json:
                face.show(end, lambda end=end: landing_line(end))  # type: ignore[misc]
    except KeyboardInterrupt:
        face.note("\ncalling off what has not landed ...")
        for run in left:
            client.post(path_of("runs", run, "land", "cancel"), {"by": who()})
            ends.append({"run": run, "status": "called off", "why": "Ctrl-C"})
    return ends


def _queued(client: Client, run: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """Its end, where it does not even get into the queue."""
    try:
        client.post(path_of("runs", run, "land"), {"by": who(), **body, "wait": False})
    except ApiError as error:
        return {"status": error.code.replace("_", " "), "why": f"{error}: {error.why}", "fix": error.fix}
    return None


def _end(client: Client, run: str) -> dict[str, Any]:
    while True:
        shape = client.get(path_of("runs", run, "brief"))
        landing: dict[str, Any] = shape["landing"] or {}
        if landing.get("status") != "waiting":
            return landing
        time.sleep(LOOK_S)
