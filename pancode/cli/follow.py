"""Waiting for a run: progress on standard error, its end as a result; Ctrl-C detaches, stops nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from pancode.cli.face import Face
from pancode.cli.render import count, safe, took
from pancode.client import Client, Event, NotRunningError, StreamCutError, path_of
from pancode.errors import ExitCode

AGAIN_S = 1.0
TRIES = 60
"""How often a coordinator that went away is looked for before waiting is given up."""


def wait(face: Face, client: Client, run: str) -> dict[str, Any] | None:
    """The run at its end; None when the person has detached."""
    try:
        told = ""
        for shape in changes(face, client, run):
            line = _progress(shape)
            if line != told:
                face.note(line)
            told = line
            if shape["state"] == "ended":
                return shape
    except KeyboardInterrupt:
        pass
    detached(face, run)
    return None


def detached(face: Face, run: str) -> int:
    """Say how to come back; the status for it."""
    sys.stderr.write(
        f"\ndetached; {run} goes on.  follow: pancode runs logs -f {run}   stop: pancode runs stop {run}\n"
    )
    return ExitCode.DETACHED


def changes(face: Face, client: Client, run: str) -> Iterator[dict[str, Any]]:
    """The run whenever it changes, over restarts of the coordinator, until it has ended."""
    for event in resumed(face, lambda: client.events("GET", path_of("runs", run, "events"))):
        if event.kind == "run":
            yield event.data


def resumed(face: Face, begin: Any) -> Iterator[Event]:
    """Events of a stream that is begun again where it was cut; a person is told of the gap."""
    tries = 0
    while True:
        try:
            ended = False
            for event in begin():
                tries = 0
                ended = ended or _last(event)
                yield event
            if ended:
                return
        except (StreamCutError, NotRunningError) as cut:
            if tries >= TRIES:
                raise
            if tries == 0:
                face.note(
                    f"the coordinator is away ({cut.why or cut}); the run is not, waiting for it to be back"
                )
        tries += 1
        time.sleep(AGAIN_S)


def _last(event: Event) -> bool:
    return event.kind == "end" or (event.kind == "run" and event.data["state"] == "ended")


def _progress(shape: dict[str, Any]) -> str:
    where = f" on {shape['node']}" if shape["node"] and shape["state"] != "pending" else ""
    usage = shape["usage"]
    tokens = usage["input_tokens"] + usage["output_tokens"]
    spent = f"  {count(tokens)} tokens" if tokens else ""
    what = shape["outcome"] or shape["state"]
    notes = "".join(f"  ({note})" for note in shape["notes"])
    reason = f"  {safe(shape['reason'])}" if shape["reason"] else ""
    return f"  {shape['run']}  attempt {shape['attempt']}  {what}{where}{reason}{spent}{notes}"


def summary(shape: dict[str, Any]) -> str:
    """A finished run in a few lines."""
    from pancode.cli.render import tone, usd

    notes = f" ({', '.join(shape['notes'])})" if shape["notes"] else ""
    lines = [f"{shape['run']}  {tone(shape['outcome'] or shape['state'])}{notes}  {safe(shape['reason'])}"]
    lines.append(f"  on {shape['node'] or '-'}, {shape['runtime']}, {_lasted(shape)}, {_cost(shape, usd)}")
    if shape["commit"]:
        files = len(shape["files_changed"])
        lines.append(f"  commit {shape['commit'][:12]}, {files} file{'s' if files != 1 else ''} changed")
    return "\n".join(lines) + "\n"


def _cost(shape: dict[str, Any], usd: Any) -> str:
    usage = shape["usage"]
    source = usage["cost_source"]
    return f"cost {usd(usage['cost_usd'])}{f' ({source})' if usage['cost_usd'] is not None else ''}"


def _lasted(shape: dict[str, Any]) -> str:
    from datetime import datetime

    if shape["started_at"] is None or shape["finished_at"] is None:
        return "never started"
    start, end = (datetime.fromisoformat(shape[k]) for k in ("started_at", "finished_at"))
    return took(max(0.0, (end - start).total_seconds()))
