"""An orchestrator's calls of tools of the fleet, from its stream into events: each once, while it waits."""

from __future__ import annotations

import json

import pytest

from node_agent.wire.event import FleetAsked
from node_agent.wire.fleet import MOST_OPEN_FLEET_CALLS, FleetTerms, FleetTool
from node_agent.wire.job import TurnTerms
from tests.fakes.node import Script
from tests.unit.node_agent.attempt.test_turns import Talking, line, reader, told, turn
from tests.unit.node_agent.stage import Stage, job_of

TERMS = FleetTerms(tools=(FleetTool(name="dispatch", description="", parameters="{}"),))
TALKS = TurnTerms(idle_ms=60_000, turn_ms=60_000, by="ana")


def asks(number: int, tool: str = "dispatch", **given: object) -> bytes:
    return line("asks_fleet", number=number, tool=tool, arguments=given)


def test_calls_that_wait_are_those_without_an_end() -> None:
    one = reader()
    one.feed(turn(1) + asks(1, task="a") + line("fleet_over", number=1) + asks(2, task="b"))
    (waits,) = one.spent().fleet
    assert (waits.number, waits.tool, json.loads(waits.arguments)) == (2, "dispatch", {"task": "b"})


def test_what_our_worker_would_never_write_is_left_out() -> None:
    one = reader()
    one.feed(
        asks(1, tool="Dispatch; rm")
        + asks(2, task="x" * 30_000)
        + line("asks_fleet", number=-1, tool="dispatch")
    )
    assert one.spent().fleet == ()
    one.feed(b"".join(asks(number) for number in range(1, 100)))
    assert len(one.spent().fleet) == MOST_OPEN_FLEET_CALLS


@pytest.mark.parametrize(("terms", "count"), [(TERMS, 1), (None, 0)])
def test_each_is_told_once_and_only_where_the_job_offers_tools(
    monkeypatch: pytest.MonkeyPatch, terms: FleetTerms | None, count: int
) -> None:
    monkeypatch.setattr("tests.unit.node_agent.stage.MemoryRuntimes", Talking)
    stage = Stage(script=lambda _: Script(duration_ms=600_000, output=turn(1) + asks(1, task="a")))
    stage.push(job_of(turns=TALKS, fleet_tools=terms))
    stage.go(20_000, lambda: bool(told(stage, FleetAsked)))
    stage.go(20_000, lambda: False)
    found = told(stage, FleetAsked)
    assert len(found) == count
    assert not found or (found[0].number, found[0].tool) == (1, "dispatch")
