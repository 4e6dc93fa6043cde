"""Server-sent events: a run's progress, a log from a byte offset, and the steps of a long call."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import asdict, replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from pancode.conversation.lines import LogStory
from pancode.conversation.parts import PartsReader
from pancode.conversation.stream import BEGINS, reading_of
from pancode.fleet.acts import Progress, ProgressLine
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.problems import body_of, problem_of
from pancode.interfaces.http.routing import ApiCall, EventStream
from pancode.kernel.records import FeedEvent
from pancode.runs.log import LogPiece, LogPlace
from pancode.runs.views import get_run_shape

LOOK_S = 0.5
ReadLog = Callable[[LogPlace], LogPiece]
"""Returns the next bytes of a log from this place, as `read_log` does."""
QUIET_S = 10.0
"""Seconds without data after which a comment is sent, to tell a quiet run from a dead coordinator."""


def make_event_stream(events: AsyncIterator[str]) -> EventStream:
    headers = {"Cache-Control": "no-store"}
    return EventStream(keep_alive(events, QUIET_S), media_type="text/event-stream", headers=headers)


async def keep_alive(events: AsyncIterator[str], quiet_s: float) -> AsyncGenerator[str, None]:
    """Yield the events, and a comment whenever there was none for `quiet_s` seconds, however often the source
    wakes up meanwhile."""

    async def take() -> str | None:
        return await anext(events, None)

    coming = asyncio.create_task(take())
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=quiet_s)
            if not done:
                yield ": still here\n\n"
                continue
            text = coming.result()
            if text is None:
                return
            yield text
            coming = asyncio.create_task(take())
    finally:
        coming.cancel()


def format_event(kind: str, data: Any, mark: str = "") -> str:
    """Format one event on one data line; this is possible because JSON contains no line break."""
    head = f"id: {mark}\n" if mark else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n"


async def run_events(context: ApiContext, call: ApiCall) -> AsyncIterator[str]:
    """Yield `run` whenever the run's shape changes, at last with state `ended`; `problem` on failure. The run
    is read when the feed reports a change of the run or of the fleet, and every `QUIET_S`."""
    last: Any = None
    place = -1
    while not context.closing.is_set():
        seen, news = context.bell.count, context.core.feed.since(place)
        place = context.core.feed.last if news is None else news[-1].number if news else place
        if last is None or _tells_of(news, last["run"]):
            try:
                shape = await run_in_threadpool(get_run_shape, context.core, call.path["run"])
            except Exception as error:
                yield format_event("problem", body_of(problem_of(error), 500))
                return
            if shape != last:
                last = shape
                yield format_event("run", shape)
            if shape["state"] == "ended":
                return
        if refusal := _refuse_wait(context):
            yield refusal
            return
        if not await context.bell.wait(seen, QUIET_S):
            place = -1  # on timeout, read the run regardless of the feed


def _refuse_wait(context: ApiContext) -> str:
    """Return the event that ends a stream if the coordinator does not lead its fleet, where nothing more can
    happen; empty if it leads."""
    held = context.coordinator.held
    return "" if held is None else format_event("problem", body_of(problem_of(held.refuse()), 500))


def _tells_of(news: list[FeedEvent] | None, run: str) -> bool:
    return news is None or any(one.run in (None, run) for one in news)


class ShownLog:
    """Reads a log as the text that users read instead of the program's events. Offsets count the bytes of
    this text since the beginning of the attempt, which is read again for a reader that resumes."""

    def __init__(self, read: ReadLog, runtime: str, begin: LogPlace, *, follows: bool) -> None:
        self._read, self._follows, self._texts = read, follows, list[str]()
        self._story = LogStory(runtime, self._texts.append)
        self._source, self._count = replace(begin, offset=0, last=0), 0

    def read(self, place: LogPlace) -> LogPiece:
        """Return the text from a place on. `place`: where to begin, or the place of the piece before."""
        piece, attempt = self._read(self._source), self._source.attempt
        ends = not piece.data and (
            piece.end or attempt not in ("", piece.place.attempt) or not (self._follows or piece.more)
        )
        if ends:
            self._story.end()
        else:
            self._story.write(piece.place.attempt, piece.data)
        text = "".join(self._texts).encode()
        self._texts.clear()
        if ends and not text:
            count, self._source, self._count = max(self._count, place.offset), piece.place, 0
            changes = piece.place.attempt != attempt
            return piece if changes else replace(piece, place=replace(piece.place, offset=count))
        if not ends:
            self._source = piece.place
        data = text[max(0, place.offset - self._count) :]
        self._count += len(text)
        here = LogPlace(place.stream, self._source.attempt, max(self._count, place.offset))
        return LogPiece(data, here, more=ends or piece.more)


def show_tail(runtime: str, data: bytes, most: int) -> str:
    """Return the end of an output as text. The first line of an output that is longer may be cut."""
    texts = list[str]()
    story = LogStory(runtime, texts.append)
    if len(data) == most and reading_of(runtime, BEGINS) is not None:
        data = data.partition(b"\n")[2]
    story.write("", data)
    return "".join(texts)


def format_log(piece: LogPiece) -> str:
    """Return the event with the bytes of a piece."""
    place, shown = piece.place, base64.b64encode(piece.data).decode()
    data = {"attempt": place.attempt, "next": place.offset, "stream": place.stream, "b64": shown}
    return format_event("log", data, f"{place.attempt}:{place.offset}")


class PartsOfLog:
    """Formats the output of one run after another as `parts`: what the agent says, thinks and does, instead
    of bytes."""

    def __init__(self, run: str, runtime: str) -> None:
        self._run, self._runtime = run, runtime
        self._reader: PartsReader | None = None

    def format(self, piece: LogPiece) -> str:
        """Return the event for a piece of a log."""
        data = piece.data
        if self._reader is None:
            is_cut, before = piece.before != 0, piece.before or 0
            data = data.partition(b"\n")[2] if is_cut else data  # the end of a line is not an event
            self._reader = PartsReader(before + is_cut)
        place = piece.place
        parts = self._reader.read(self._run, place.attempt, data, self._runtime)
        left = place.offset - self._reader.behind
        return format_event("parts", {"attempt": place.attempt, "next": left, "parts": parts})

    def read(self, run: str, attempt: str, data: bytes) -> tuple[list[dict[str, object]], int]:
        """Return the parts in these bytes, and how many of the bytes so far are in no part yet."""
        self._reader = self._reader or PartsReader()
        return self._reader.read(run, attempt, data, self._runtime), self._reader.behind


async def log_events(
    context: ApiContext,
    read: ReadLog,
    place: LogPlace,
    *,
    follows: bool,
    tell: Callable[[LogPiece], str] = format_log,
) -> AsyncIterator[str]:
    """Yield `log` with bytes from a place on, `attempt` when another attempt begins, `end` when nothing can
    follow. Each `log` contains the next offset; a reader that resumes there misses and repeats nothing.
    `follows`: wait for what is not stored yet. `tell`: formats a piece, as another event than `log`."""
    while not context.closing.is_set():
        seen = context.bell.count
        try:
            piece = await run_in_threadpool(read, place)
        except Exception as error:
            yield format_event("problem", body_of(problem_of(error), 500))
            return
        if piece.place.attempt != place.attempt and piece.place.attempt:
            yield format_event("attempt", {"attempt": piece.place.attempt, "stream": place.stream})
        place = piece.place
        if piece.data:
            yield tell(piece)
        elif piece.end or not (follows or piece.more):
            yield format_event(
                "end", {"attempt": place.attempt, "next": place.offset, "complete": piece.complete}
            )
            return
        elif not piece.more:
            if refusal := _refuse_wait(context):
                yield refusal
                return
            await context.bell.wait(seen, LOOK_S)


async def stream_steps(work: Callable[[Progress], Any]) -> AsyncIterator[str]:
    """Yield `progress` for each step while `work` runs in a thread, then `result` or `problem`."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[ProgressLine | None] = asyncio.Queue()

    def tell(line: ProgressLine) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def run() -> Any:
        try:
            return work(tell)
        finally:
            loop.call_soon_threadsafe(lines.put_nowait, None)

    task = asyncio.create_task(run_in_threadpool(run))
    while (line := await lines.get()) is not None:
        yield format_event("progress", asdict(line))
    try:
        yield format_event("result", await task)
    except Exception as error:
        yield format_event("problem", body_of(problem_of(error), 500))
