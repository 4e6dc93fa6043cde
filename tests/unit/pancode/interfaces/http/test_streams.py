"""A long call says that it is still there, so that a slow step is no dead coordinator."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from pancode.fleet.acts import Progress, ProgressLine
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.streams import stream_steps
from tests.unit.pancode.interfaces.http.world import FACTS, MemoryCoordinator
from tests.unit.pancode.runs.world import Desk as MemoryDesk


def test_a_step_that_takes_long_is_not_silent(tmp_path: Path) -> None:
    context = ApiContext(MemoryCoordinator(MemoryDesk(), tmp_path), FACTS, lambda by: None)
    going_on = threading.Event()

    def work(progress: Progress) -> dict[str, bool]:
        progress(ProgressLine("n1", "bundle", "started", "a slow line", 0.0))
        assert going_on.wait(20)
        return {"ok": True}

    async def go() -> list[str]:
        said = []
        async for text in stream_steps(context, work, quiet_s=0.01):
            said.append(text)
            if text.startswith(":"):
                going_on.set()
        return said

    said = asyncio.run(go())
    events = [text for text in said if not text.startswith(":")]
    assert [text.partition("\n")[0] for text in events] == ["event: progress", "event: result"], said
    assert any(text.startswith(": still here") for text in said), said
