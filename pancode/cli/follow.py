"""Waits for a run: progress on standard error, its end as a result; Ctrl-C detaches and stops nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from pancode.cli.face import Face, aside
from pancode.cli.output.progress import ProgressRow
from pancode.cli.output.render import count, safe, tone, took, usd
from pancode.cli.output.setting_up import SetUpLine, SetUpTimer
from pancode.client import Client, FleetDownError, ServerEvent, StreamCutError, path_of
from pancode.connection import NotRunningError
from pancode.counted import counted
from pancode.errors import ExitCode

if TYPE_CHECKING:
    from pancode.cli.output.transcript import LiveTranscript

AGAIN_S = 1.0
TRIES = 60
"""The number of attempts to reach a coordinator that went away, before waiting ends."""


def wait(face: Face, client: Client, run: str) -> dict[str, Any] | None:
    """The run at its end, with the output that was `shown` meanwhile; None when the person has detached."""
    try:
        live, own = None, SetUpLine(Client(client.place, starts=False), run)
        with ProgressRow(face) as line, SetUpTimer(own, line.grow) if line.draws else nullcontext():
            for shape in changes(face, client, run):
                if shape["state"] == "ended":
                    if live is not None:
                        live.finish()
                        shape = {**shape, "shown": live.shown}
                    return shape
                line.show(_stage(shape), _progress(shape))
                if live is None and line.draws and shape["started_at"] is not None:
                    live = _beginning(face, line, shape)
    except KeyboardInterrupt:
        pass
    detached(face, run)
    return None


def _beginning(face: Face, line: ProgressRow, shape: dict[str, Any]) -> LiveTranscript:
    """The story of its agent, shown above the line of its progress."""
    from pancode.cli.output.transcript import MARK, LiveTranscript

    def show(text: str) -> None:
        line.above(text, dim=text.startswith(MARK))

    live = LiveTranscript(Client(face.client().place, starts=False), shape["run"], shape["runtime"], show)
    live.start()
    return live


def detached(face: Face, run: str) -> int:
    """Say how to come back; the status for it."""
    aside(f"\ndetached; {run} goes on.  follow: pancode runs logs -f {run}   stop: pancode runs stop {run}\n")
    return ExitCode.DETACHED


def changes(face: Face, client: Client, run: str) -> Iterator[dict[str, Any]]:
    """The run whenever it changes, over restarts of the coordinator, until it has ended."""
    for event in resumed(face, run, lambda: client.events("GET", path_of("runs", run, "events"))):
        if event.kind == "run":
            yield event.data


def resumed(face: Face, run: str, begin: Any) -> Iterator[ServerEvent]:
    """Events of a run's stream that is begun again where it was cut; a person is told of the gap.

    FleetDownError, with what becomes of the run, where the fleet was taken down meanwhile.
    """
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
        except FleetDownError as down:
            raise _went_down(down, run) from down
        except (StreamCutError, NotRunningError) as cut:
            if tries >= TRIES:
                raise
            if tries == 0:
                face.note(
                    f"the coordinator is away ({cut.why or cut}); the run is not, waiting for it to be back"
                )
        tries += 1
        time.sleep(AGAIN_S)


def _went_down(down: FleetDownError, run: str) -> FleetDownError:
    why = f"{down.why}; running work goes on, waiting runs are kept, {run} is told when it is up again"
    return FleetDownError(str(down), why=why, fix=f"pancode fleet up; then pancode runs logs -f {run}")


def _last(event: ServerEvent) -> bool:
    return event.kind == "end" or (event.kind == "run" and event.data["state"] == "ended")


_STAGES = {
    "placed": "placed on",
    "preparing": "preparing on",
    "running": "running on",
    "verifying": "verifying on",
    "delivering": "delivering from",
}


def _stage(shape: dict[str, Any]) -> str:
    """The progress of a run in few words; a wait or a problem in the words of its reason."""
    attempt = f"attempt {shape['attempt']}: " if shape["attempt"] > 1 else ""
    notes = "".join(f"  ({safe(note)})" for note in shape["notes"])
    words = _STAGES.get(shape["stage"])
    if words is not None and shape["waits"] is None:
        return f"{attempt}{words} {safe(shape['node'])}{notes}"
    return f"{attempt}{safe(shape['reason']) or shape['state']}{notes}"


def _progress(shape: dict[str, Any]) -> str:
    usage = shape["usage"]
    tokens = usage["input_tokens"] + usage["output_tokens"]
    spent = f"  {count(tokens)} tokens" if tokens else ""
    return f"  {shape['run']}  {_stage(shape)}{spent}"


_LOGS = {
    "setup_failed": "--stream setup ",
    "gate_failed": "--stream gates.log ",
    "gate_not_runnable": "--stream gates.log ",
}
"""Where the output of a failure is that is not the agent's."""


def summary(shape: dict[str, Any]) -> str:
    """A finished run in a few lines; what was found on the way (a file left behind) is never left out."""
    notes = f" ({', '.join(shape['notes'])})" if shape["notes"] else ""
    state = shape["outcome"] or shape["state"]
    reason = safe(shape["reason"]).removeprefix(state).lstrip(" ,:")
    lines = [f"{shape['run']}  {tone(state)}{notes}{f'  {reason}' if reason else ''}"]
    lines.append(f"  on {shape['node'] or '-'}, {shape['runtime']}, {lasted(shape)}, {_cost(shape)}")
    if shape["commit"]:
        files = len(shape["files_changed"])
        lines.append(f"  commit {shape['commit'][:12]}, {counted(files, 'file')} changed")
    lines += [f"  landing    {_landing(shape['landing'])}"] if shape.get("landing") else []
    lines += [f"  tested     {_tested(shape['verification'])}"] if shape.get("verification") else []
    lines += [f"  finding    {safe(text)}" for text in shape["findings"]]
    lines += _asks(shape["run"], shape["inbox"]) if shape.get("inbox") else []
    if shape["outcome"] not in (None, "done"):
        failure = (shape.get("attempts") or [{}])[-1].get("failure")
        stream = _LOGS.get(failure, "")
        look = f"  look: pancode runs logs {stream}{shape['run']} " if failure != "gate_missing" else ""
        servers = "   servers: pancode endpoints" if failure == "model_failed" else ""
        lines.append(f"{look}  why: pancode why {shape['run']}{servers}")
    return "\n".join(lines) + "\n"


def _asks(run: str, item: dict[str, Any]) -> list[str]:
    choices = [f"  {number}: {safe(one)}" for number, one in enumerate(item["choices"], start=1)]
    no = "" if item["kind"] == "call" else f"   no: pancode deny {run}"
    return [*choices, f"  it waits for you: {item['command']}{no}"]


def _tested(seen: dict[str, Any]) -> str:
    before = [safe(str(one["node"])) for one in seen["earlier"] if one["state"] == "disputed"]
    disputed = f" (disputed before by {', '.join(before)})" if before else ""
    return f"{safe(seen['why'])}{disputed}"


def _landing(landing: dict[str, Any]) -> str:
    where = (
        f" in {safe(landing['tree'])}, {counted(len(landing['files']), 'file')}, not committed"
        if landing.get("tree")
        else ""
    )
    why = f": {safe(landing['why'])}" if landing.get("why") else ""
    return f"{safe(landing['status'])}{where}{why}"


def _cost(shape: dict[str, Any]) -> str:
    usage = shape["usage"]
    source = usage["cost_source"]
    disputed = f", and {usd(usage['disputed_usd'])} disputed" if usage["disputed_usd"] else ""
    return f"cost {usd(usage['cost_usd'])}{f' ({source})' if usage['cost_usd'] is not None else ''}{disputed}"


def lasted(shape: dict[str, Any]) -> str:
    """The duration of a run; for one that has not ended, the time since its start."""
    if shape["started_at"] is None:
        return "-" if shape["outcome"] is None else "never started"
    if shape["finished_at"] is None:
        return "not ended"
    return between(shape["started_at"], shape["finished_at"])


def between(begin: str, end: str) -> str:
    """The time from one moment to the other."""
    from datetime import datetime

    seconds = max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())
    return took(round(seconds, 1))


def cost(shape: dict[str, Any]) -> str:
    """In a list: `unknown` is said of a run that has ended, and of no other."""
    if shape["usage"]["cost_usd"] is None:
        return "unknown" if shape["outcome"] is not None else "-"
    return usd(shape["usage"]["cost_usd"])
