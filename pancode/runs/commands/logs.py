"""`pancode logs`: shows what a run's agent says and does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated

from pancode.interfaces.cli.follow import report_detached
from pancode.interfaces.cli.output import Face, exit_of
from pancode.interfaces.cli.parameters import Json, option, verb
from pancode.interfaces.cli.terminal import Sink
from pancode.interfaces.client.client import Client, FleetDownError, LogPart
from pancode.interfaces.client.session import Place, followed_log, stored_log
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.names import LAST
from pancode.runs.answers import BRIEF
from pancode.runs.commands.named_runs import AnyRun, find_run
from pancode.sessions.conversation.lines import LogStory
from pancode.sessions.conversation.stream import reading_of


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
    sinks: dict[str, Sink | LogStory] = {one: Sink(out) for one, out in outs.items()}
    if not (raw or stream or face.as_json) and reading_of(brief["runtime"]) is not None:
        output = Sink(sys.stdout)
        sinks["out"] = LogStory(brief["runtime"], lambda text: output.write(text.encode()))
    if follow:
        return _follow(face, client, brief["run"], (attempt, offset), sinks)
    for one, sink in sinks.items():
        _write_log(face, one, stored_log(client, brief["run"], one, (attempt, offset)), sink)
    return ExitCode.DONE


def _write_log(face: Face, stream: str, parts: Iterable[LogPart], sink: Sink | LogStory) -> None:
    """Write the log unchanged; with --json one object for each piece, with the offset of the next piece."""
    try:
        for part in parts:
            if isinstance(sink, LogStory):
                sink.write(part.attempt, part.data)
            elif not face.as_json:
                sink.write(part.data)
            elif part.data:
                shape = {"stream": stream, "attempt": part.attempt, "next": part.next}
                face.show({**shape, "text": part.data.decode("utf-8", "replace")}, str)
    finally:
        if isinstance(sink, LogStory):
            sink.end()


def _follow(face: Face, client: Client, run: str, place: Place, sinks: dict[str, Sink | LogStory]) -> int:
    def show(stream: str, sink: Sink | LogStory) -> None:
        with suppress(FleetDownError):  # The last request below reports the error.
            _write_log(face, stream, followed_log(face.note, client, run, stream, place), sink)

    threads = [threading.Thread(target=show, args=one, daemon=True) for one in sinks.items()]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    except KeyboardInterrupt:
        return report_detached(face, run)
    return exit_of(client.get(BRIEF.at(run))["outcome"])
