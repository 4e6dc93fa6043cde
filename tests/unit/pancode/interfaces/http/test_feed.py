"""`GET /v1/events`: what happens, from one reader in memory, to all who watch; a gap is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from pancode.fleet import inventory
from pancode.interfaces.http.bodies import Empty
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.records import Node
from pancode.reports.routes import events
from tests.unit.pancode.interfaces.http.world import FACTS, MemoryCoordinator
from tests.unit.pancode.runs.world import Desk as MemoryDesk


class Watched:
    """A fleet whose feed is read."""

    def __init__(self, tmp_path: Path) -> None:
        self.memory = MemoryDesk()
        self.context = ApiContext(MemoryCoordinator(self.memory, tmp_path), FACTS, lambda by: None)

    def stream(self, last: str = "", **query: str) -> AsyncIterator[str]:
        answer = events(self.context, ApiCall({}, query, Empty(), last))
        assert isinstance(answer, StreamingResponse)
        return answer.body_iterator  # type: ignore[return-value]

    def all(self, last: str = "", **query: str) -> list[tuple[str, Any]]:
        """Up to now."""

        async def read() -> list[str]:
            return [text async for text in self.stream(last, end="1", **query)]

        return [parsed(text) for text in asyncio.run(read())]


def parsed(text: str) -> tuple[str, Any]:
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return fields["event"], json.loads(fields["data"])


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_the_newest_come_first_and_fit_what_is_asked_for(watched: Watched) -> None:
    watched.memory.dispatch("r-0001")
    watched.memory.dispatch("r-0002")
    assert [kind for kind, _ in watched.all(tail="2", kind="run")] == ["run.queued"] * 2
    told = watched.all(tail="9", run="r-0002")
    assert [(kind, one["run"]) for kind, one in told] == [("run.queued", "r-0002")]
    inventory.add(watched.memory.core, Node("n1", 0, {}, {}, 2))
    assert [one["node"] for _, one in watched.all(tail="9", node="n1")] == ["n1"] and watched.all() == []
    assert watched.all(tail="9", kind="run.ended,audit")[-1][0] == "audit"


def test_who_comes_back_misses_nothing_and_hears_of_a_gap(watched: Watched) -> None:
    last = watched.context.core.feed.last
    watched.memory.dispatch("r-0001")
    for told in (watched.all(last=str(last)), watched.all(since=str(last))):
        assert [kind for kind, _ in told] == ["run.queued"]
    now = watched.context.core.feed.last
    assert watched.all(last=str(now + 5)) == [("reset", {"last": now})]
    assert watched.all(last=str(now)) == []


def test_watchers_are_woken_by_the_commit_and_ask_no_ledger(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, last = watched.context.core, watched.context.core.feed.last

    async def go() -> list[str]:
        streams = [watched.stream(str(last)) for _ in range(20)]
        waiting = [asyncio.ensure_future(anext(one)) for one in streams]
        await asyncio.sleep(0.05)
        assert not any(one.done() for one in waiting)
        with monkeypatch.context() as patch:
            patch.setattr(core.ports.ledger, "transaction", None)
            core.feed.publish([made])
            return await asyncio.wait_for(asyncio.gather(*waiting), 10)

    watched.memory.dispatch("r-0001")
    made = core.feed.newest(1)[0]
    core.feed._events.pop()
    assert {parsed(text)[0] for text in asyncio.run(go())} == {"run.queued"}


@pytest.mark.parametrize("query", [{"kind": "run.endet"}, {"run": "r-none"}])
def test_what_is_not_there_is_an_error_before_the_stream(watched: Watched, query: dict[str, str]) -> None:
    with pytest.raises(NotFoundError):
        watched.stream(**query)


@pytest.mark.parametrize("last", ["x", "-1", "1" * 19, "²"])
def test_an_id_that_is_none_is_an_error(watched: Watched, last: str) -> None:
    with pytest.raises(UsageError):
        watched.stream(last)
