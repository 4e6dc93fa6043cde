"""A quiet stream sends comments, so that a slow step or a quiet run is not taken for a dead coordinator."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from pancode.fleet.acts import Progress, ProgressLine
from pancode.interfaces.http.bodies import Empty
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall
from pancode.interfaces.http.streams import ShownLog, keep_alive, run_events, stream_steps
from pancode.runs.log import LogPiece, LogPlace
from tests.contract.transcripts import output
from tests.unit.pancode.interfaces.http.world import FACTS, MemoryCoordinator
from tests.unit.pancode.runs.world import Desk as MemoryDesk


def test_a_step_that_takes_long_is_not_silent() -> None:
    going_on = threading.Event()

    def work(progress: Progress) -> dict[str, bool]:
        progress(ProgressLine("n1", "bundle", "started", "a slow line", 0.0))
        assert going_on.wait(20)
        return {"ok": True}

    async def go() -> list[str]:
        said = []
        async for text in keep_alive(stream_steps(work), 0.01):
            said.append(text)
            if text.startswith(":"):
                going_on.set()
        return said

    said = asyncio.run(go())
    events = [text for text in said if not text.startswith(":")]
    assert [text.partition("\n")[0] for text in events] == ["event: progress", "event: result"], said
    assert any(text.startswith(": still here") for text in said), said


def test_a_run_that_does_not_change_is_not_silent_while_others_do(tmp_path: Path) -> None:
    """A bell that rings more often than the comments are due does not hold them back."""
    desk = MemoryDesk()
    desk.dispatch("r-1")
    context = ApiContext(MemoryCoordinator(desk, tmp_path), FACTS, lambda by: None)
    call = ApiCall({"run": "r-1"}, {}, Empty())

    async def ring() -> None:
        while True:
            context.bell.ring()
            await asyncio.sleep(0.001)

    async def go() -> list[str]:
        ringing = asyncio.create_task(ring())
        stream = keep_alive(run_events(context, call), 0.05)
        said = [await asyncio.wait_for(anext(stream), 20) for _ in range(4)]
        ringing.cancel()
        await stream.aclose()
        return [text.partition("\n")[0] for text in said]

    assert asyncio.run(go()) == ["event: run", *(": still here",) * 3]


ENDS = LogPiece(b"", LogPlace("out", "2.2", 0), end=True, complete=True)


def shown(begin: LogPlace, *, cut: int = 10**6) -> tuple[list[tuple[str, str]], LogPlace]:
    """The text of each attempt of a log with two, from a place on, and the place after `cut` pieces."""
    logs = {"1.1": output("claude", "tool-denied"), "2.2": output("claude", "ok-edit")}

    def read(place: LogPlace) -> LogPiece:
        attempt = place.attempt if place.attempt in logs else "1.1"
        data = logs[attempt][place.offset : place.offset + 1000]
        if data:
            return LogPiece(data, LogPlace("out", attempt, place.offset + len(data)), more=True)
        return LogPiece(b"", LogPlace("out", "2.2", 0), more=True) if attempt == "1.1" else ENDS

    log, place, texts = ShownLog(read, "claude", begin, follows=True), begin, list[tuple[str, str]]()
    for _ in range(cut):
        piece = log.read(place)
        place = piece.place
        if piece.end:
            break
        texts.append((place.attempt, piece.data.decode()))
    return texts, place


def test_a_reader_of_the_shown_log_that_resumes_misses_and_repeats_nothing() -> None:
    whole, _ = shown(LogPlace())
    assert whole == shown(LogPlace(attempt="1"))[0]
    text = {one: "".join(data for attempt, data in whole if attempt == one) for one in ("1.1", "2.2")}
    assert "! denied: Bash" in text["1.1"] and text["1.1"].endswith("\n")
    assert text["2.2"].endswith("= 3600 tokens in, 102 out, $0.0128\n")
    for cut in range(1, len(whole)):
        begun, place = shown(LogPlace(), cut=cut)
        rest, _ = shown(place)
        assert "".join(data for _, data in [*begun, *rest]) == text["1.1"] + text["2.2"], cut


def test_the_shown_log_of_a_run_at_work_ends_where_nothing_more_is_stored() -> None:
    data = output("claude", "ok-edit")[:2000]

    def read(place: LogPlace) -> LogPiece:
        rest = data[place.offset :]
        return LogPiece(rest, LogPlace("out", "1.1", len(data)), more=bool(rest))

    log = ShownLog(read, "claude", LogPlace(), follows=False)
    pieces = [log.read(LogPlace())]
    while pieces[-1].more:
        pieces.append(log.read(pieces[-1].place))
    assert b"".join(one.data for one in pieces).endswith(b"\n") and not pieces[-1].data
