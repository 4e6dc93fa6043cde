"""`pancode runs logs`: what a run's agent says and does."""

from __future__ import annotations

import base64
import sys
import threading
from contextlib import suppress
from typing import Annotated, Any

from pancode.asking import resumed
from pancode.cli.commands import Commands
from pancode.cli.face import Face, exit_of
from pancode.cli.follow import detached
from pancode.cli.params import Json, Run, option
from pancode.cli.terminal import Sink
from pancode.cli.transcript import MARK, TranscriptWriter, story_for
from pancode.client import Client, FleetDownError, path_of
from pancode.errors import ExitCode, UsageError

app = Commands()


@app.verb("logs", "pancode runs logs -f last", "pancode runs logs r-7f3k --stream err")
def logs(
    run: Run,
    *,
    follow: Annotated[
        bool, option("Follow until the run has ended; Ctrl-C detaches.", "-f", "--follow")
    ] = False,
    raw: Annotated[
        bool, option("Show the program's own output byte by byte, even if it is events.", "--raw")
    ] = False,
    stream: Annotated[
        str | None, option("Show only this stream, raw (default: out, and err on standard error).", "NAME")
    ] = None,
    attempt: Annotated[str, option("Attempt and fence, as runs show names them.", "A.F")] = "",
    offset: Annotated[int, option("Begin at this byte (needs --stream).", min=0)] = 0,
    face: Json,
) -> int:
    """The output of a run's agent for people, from the stored log; scripts and other streams as they are."""
    if offset and not stream:
        raise UsageError(
            "--offset counts in one stream", fix=f"pancode runs logs {run} --stream out --offset {offset}"
        )
    client = face.client()
    brief = client.get(path_of("runs", run, "brief"))
    outs = {stream: sys.stdout} if stream else {"out": sys.stdout, "err": sys.stderr}
    sinks: dict[str, Sink | TranscriptWriter] = {one: Sink(out) for one, out in outs.items()}
    if not (raw or stream or face.as_json):
        sinks["out"] = story_for(brief["runtime"], Sink(sys.stdout, dim=MARK)) or sinks["out"]
    if follow:
        return _follow(face, client, (brief["run"], attempt, offset), sinks)
    for one, sink in sinks.items():
        _copy(face, client, (brief["run"], one, attempt), offset, sink)
    return ExitCode.DONE


@app.verb("follow", "pancode runs follow last")
def follow(run: Run, *, face: Json) -> int:
    """The output of a run's agent until the run has ended, as `runs logs --follow`; Ctrl-C detaches."""
    return int(logs(run, follow=True, face=face))


def _copy(
    face: Face, client: Client, what: tuple[str, str, str], offset: int, sink: Sink | TranscriptWriter
) -> None:
    run, stream, attempt = what
    state = "more"
    while state == "more":
        part = client.log(run, stream, attempt, offset)
        attempt, offset, state = part.attempt, part.next, part.state
        _emit(face, stream, attempt, offset, part.data, sink)
    if isinstance(sink, TranscriptWriter):
        sink.end()


def _emit(
    face: Face, stream: str, attempt: str, next_: int, data: bytes, sink: Sink | TranscriptWriter
) -> None:
    """Bytes as they are; as JSON one object per piece, with where the next one begins."""
    if not data:
        return
    if face.as_json:
        piece = {"stream": stream, "attempt": attempt, "next": next_, "text": data.decode("utf-8", "replace")}
        face.show(piece, str)
    elif isinstance(sink, TranscriptWriter):
        sink.write(attempt, data)
    else:
        sink.write(data)


def _follow(
    face: Face, client: Client, start: tuple[str, str, int], sinks: dict[str, Sink | TranscriptWriter]
) -> int:
    run = start[0]
    threads = [
        threading.Thread(target=_stream, args=(face, client, start, stream, sink), daemon=True)
        for stream, sink in sinks.items()
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    except KeyboardInterrupt:
        return detached(face, run)
    return exit_of(client.get(path_of("runs", run, "brief"))["outcome"])


def _stream(
    face: Face, client: Client, start: tuple[str, str, int], stream: str, sink: Sink | TranscriptWriter
) -> None:
    """One stream to its end; cut off, it goes on at the byte where it was."""
    run, attempt, offset = start
    place: dict[str, Any] = {"attempt": attempt or None, "offset": offset}

    def begin() -> Any:
        query = {"follow": "1", "stream": stream, **place}
        return client.events("GET", path_of("runs", run, "log"), query=query)

    with suppress(FleetDownError):  # `_follow` asks once more, and tells
        for event in resumed(face.note, run, begin):
            if event.kind == "attempt":
                place.update(attempt=event.data["attempt"], offset=0)
            elif event.kind == "log":
                data = base64.b64decode(event.data["b64"])
                place.update(attempt=event.data["attempt"], offset=event.data["next"])
                _emit(face, stream, event.data["attempt"], event.data["next"], data, sink)
    if isinstance(sink, TranscriptWriter):
        sink.end()
