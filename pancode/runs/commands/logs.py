"""`pancode logs`: shows what a run's agent says and does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Annotated

from pancode.conversation.stream import PLAIN
from pancode.interfaces.cli.follow import report_detached
from pancode.interfaces.cli.output import Face, exit_of
from pancode.interfaces.cli.parameters import Json, option, verb
from pancode.interfaces.cli.terminal import Sink
from pancode.interfaces.client.client import Client, FleetDownError, LogPart
from pancode.interfaces.client.session import followed_log, stored_log
from pancode.kernel.errors import ApiError, ExitCode, PancodeError, UsageError
from pancode.kernel.names import LAST
from pancode.runs.answers import BRIEF
from pancode.runs.commands.named_runs import AnyRun, find_run


@verb("logs", "", "-f last", "r-7f3k --stream err")
def logs(
    *,
    run: AnyRun = LAST,
    follow: Annotated[bool, option("Follow until the run has ended; Ctrl-C detaches.")] = False,
    raw: Annotated[
        bool, option("Show the program's output unchanged, even if it consists of events.")
    ] = False,
    stream: Annotated[
        str | None, option("Show only this stream, raw (default: out, and err on standard error).", "NAME")
    ] = None,
    attempt: Annotated[
        str, option("Show this attempt and lease, as listed by pancode runs show.", "A.F")
    ] = "",
    offset: Annotated[int, option("Begin at this byte (requires --stream).", min=0)] = 0,
    face: Json,
) -> int:
    """Show what the agent of a run said; output of scripts, and that of --stream, is shown unchanged."""
    if offset and not stream:
        fix = f"pancode logs {run} --stream out --offset {offset}"
        raise UsageError("--offset requires --stream", fix=fix)
    client = face.client()
    brief = client.get(BRIEF.at(find_run(client, run)))
    outs = {stream: sys.stdout} if stream else {"out": sys.stdout, "err": sys.stderr}
    shown = not (raw or stream or face.as_json or brief["runtime"] in PLAIN)

    def read(one: str) -> Iterator[LogPart]:
        place, log = (attempt, offset), partial(followed_log, face.note, client, brief["run"], one)
        if shown and one == "out":
            try:
                yield from log(place, follow=follow, shown=True)
                return
            except ApiError as refused:
                if refused.code != "unknown_key":
                    raise
            face.note("the coordinator has an older version, so the program's events are shown unchanged")
        yield from log(place) if follow else stored_log(client, brief["run"], one, place)

    sinks = {one: Sink(out) for one, out in outs.items()}
    if follow:
        return _follow(face, client, brief["run"], read, sinks)
    found = [_write_log(face, one, read(one), sink) for one, sink in sinks.items()]
    if not any(found):
        face.note("no output")
    return ExitCode.DONE


def _write_log(face: Face, stream: str, parts: Iterable[LogPart], sink: Sink) -> bool:
    """Write the log unchanged; with --json one object for each piece, with the offset of the next piece.
    Return whether there was any output."""
    there = False
    for part in parts:
        there = there or bool(part.data)
        if not face.as_json:
            sink.write(part.data)
        elif part.data:
            shape = {"stream": stream, "attempt": part.attempt, "next": part.next}
            face.show({**shape, "text": part.data.decode("utf-8", "replace")}, str)
    return there


def _follow(
    face: Face, client: Client, run: str, read: Callable[[str], Iterator[LogPart]], sinks: dict[str, Sink]
) -> int:
    errors: list[PancodeError] = []

    def show(stream: str, sink: Sink) -> None:
        try:
            _write_log(face, stream, read(stream), sink)
        except FleetDownError:
            return  # The last request below reports the error.
        except PancodeError as error:
            errors.append(error)

    threads = [threading.Thread(target=show, args=one, daemon=True) for one in sinks.items()]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    except KeyboardInterrupt:
        return report_detached(face, run)
    for error in errors:
        raise error
    return exit_of(client.get(BRIEF.at(run))["outcome"])
