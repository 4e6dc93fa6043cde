"""A quiet stream sends comments, so that a slow step or a quiet run is not taken for a dead coordinator."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from pancode.fleet.acts import Progress, ProgressLine
from pancode.interfaces.http.bodies import Empty
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall
from pancode.interfaces.http.streams import keep_alive, run_events, stream_steps
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
