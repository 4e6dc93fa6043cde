"""`pancode audit --events`: a line for each event; a coordinator that goes away costs none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.client import FleetDownError, ServerEvent, StreamCutError
from pancode.kernel.errors import UnavailableError
from pancode.reports.commands import events
from tests.fakes.api import FakeApi


def told(number: int, **data: Any) -> ServerEvent:
    shape = {"number": number, "at": "2026-11-22T08:30:00.000Z", "kind": "run.ended", "run": "r-0001"}
    return ServerEvent("run.ended", {**shape, "node": "n1", "data": data})


def test_a_line_says_what_happened_where_in_plain_words() -> None:
    data = {"state": "ended", "attempt": 1, "failure": None, "reason": "exit \x1b[31m0", "tokens": 10}
    line = events._format_line(told(1, **data).data)
    assert "run.ended" in line and "r-0001 n1" in line and "attempt=1" in line and "tokens=10" in line
    assert "failure" not in line and "\x1b" not in line and line.endswith("\n")


def test_who_follows_waits_for_a_coordinator_that_comes_late_and_ends_when_the_fleet_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "AGAIN_S", 0.0)
    ends = [
        UnavailableError("the coordinator did not answer in time"),
        None,
        FleetDownError("down", fix="up"),
    ]

    def cut(path: str, query: object) -> Iterator[ServerEvent]:
        if (end := ends.pop(0)) is not None:
            raise end
        yield told(1)

    heard: list[ServerEvent] = []
    with pytest.raises(FleetDownError):
        for event in events.follow_events(Face(True), FakeApi({"GET /v1/events": cut}), {"tail": 3}):
            heard.append(event)
    assert len(heard) == 1 and not ends


def test_who_follows_goes_on_after_the_last_one_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "AGAIN_S", 0.0)
    parts = [[told(1), told(2)], [], [ServerEvent("reset", {"last": 9})], [told(10)]]

    def cut(path: str, query: object) -> Iterator[ServerEvent]:
        """A coordinator that goes away after some events, and comes back."""
        if not parts:
            raise KeyboardInterrupt
        yield from parts.pop(0)
        raise StreamCutError("away")

    api = FakeApi({"GET /v1/events": cut})
    heard: list[ServerEvent] = []
    with pytest.raises(KeyboardInterrupt):
        for event in events.follow_events(Face(True), api, {"tail": 3}):
            heard.append(event)
    assert [event.data.get("number", event.kind) for event in heard] == [1, 2, "reset", 10]
    since = [(asked.get("since"), asked["tail"]) for _, asked in api.asked]
    assert since == [(None, 3), (2, 0), (2, 0), (9, 0), (10, 0)]
