"""`pancode events`: a line for each event; a coordinator that goes away costs none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.client import Client, ServerEvent, StreamCutError
from pancode.reports.commands import events


def told(number: int, **data: Any) -> ServerEvent:
    shape = {"number": number, "at": "2026-11-22T08:30:00.000Z", "kind": "run.ended", "run": "r-0001"}
    return ServerEvent("run.ended", {**shape, "node": "n1", "data": data})


def test_a_line_says_what_happened_where_in_plain_words() -> None:
    data = {"state": "ended", "attempt": 1, "failure": None, "reason": "exit \x1b[31m0", "tokens": 10}
    line = events._line(told(1, **data).data)
    assert "run.ended" in line and "r-0001 n1" in line and "attempt=1" in line and "tokens=10" in line
    assert "failure" not in line and "\x1b" not in line and line.endswith("\n")


class Cut:
    """A coordinator that goes away after some events, and comes back."""

    def __init__(self, *parts: list[ServerEvent]) -> None:
        self.parts, self.asked = list(parts), list[Mapping[str, object]]()

    def events(self, method: str, path: str, query: Mapping[str, object]) -> Iterator[ServerEvent]:
        self.asked.append(query)
        if not self.parts:
            raise KeyboardInterrupt
        yield from self.parts.pop(0)
        raise StreamCutError("away")


def test_who_follows_goes_on_after_the_last_one_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "AGAIN_S", 0.0)
    cut = Cut([told(1), told(2)], [], [ServerEvent("reset", {"last": 9})], [told(10)])
    heard: list[ServerEvent] = []
    with pytest.raises(KeyboardInterrupt):
        for event in events.followed(Face(True), cast("Client", cut), {"tail": 3}):
            heard.append(event)
    assert [event.data.get("number", event.kind) for event in heard] == [1, 2, "reset", 10]
    since = [(asked.get("since"), asked["tail"]) for asked in cut.asked]
    assert since == [(None, 3), (2, 0), (2, 0), (9, 0), (10, 0)]
