"""What a node tells after a command has changed something there."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli import node_report
from tests.fakes.answers import runtime, runtimes
from tests.fakes.api import FakeApi


def telling(*states: str, beats: bool = True) -> FakeApi:
    """The coordinator, whose nodes tell one state after the other, and then the last. `beats`: a heartbeat
    arrives before each look."""

    def answer(path: str, query: object) -> dict[str, Any]:
        looks = [path for path, _ in api.asked if path == "/v1/runtimes"]
        state = states[min(len(looks), len(states)) - 1]
        rows = [("desk", state), ("other", "missing")]
        nodes = [runtime("claude", state, node=node) for node, state in rows]
        return {"runtimes": [runtimes(name, *nodes) for name in ("claude", "codex")]}

    def look(path: str, query: object) -> dict[str, Any]:
        return {"session": "s-1", "heartbeat": next(heartbeats)}

    heartbeats = iter(range(7, 1_000) if beats else [7] * 100)
    api = FakeApi({"GET /v1/runtimes": answer, "GET /v1/nodes/desk": look})
    return api


@pytest.mark.parametrize(
    ("states", "beats", "asked", "last"),
    [
        (("ok",), False, 1, "ok"),
        (("missing", "looking", "not_logged_in", "ok"), False, 3, "not_logged_in"),
        (("missing",) * 30 + ("ok",), False, 31, "ok"),  # a crowded machine
        (("missing",), False, 60, "missing"),
        (("missing",), True, 21, "missing"),  # it has looked again, and the program is still missing
    ],
)
def test_it_waits_for_that_node_and_those_runtimes_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, states: tuple[str, ...], beats: bool, asked: int, last: str
) -> None:
    monkeypatch.setattr(node_report, "_LOOK_S", 0)
    coordinator = telling(*states, beats=beats)
    facts = node_report.facts_after(coordinator, "desk", ("claude",), ("missing", "looking"))
    assert len(coordinator.asked) == 2 * asked
    assert {name: (fact["node"], fact["state"]) for name, fact in facts.items()} == {"claude": ("desk", last)}


def test_where_no_runtime_is_meant_nothing_is_asked() -> None:
    coordinator = telling("missing")
    assert node_report.facts_after(coordinator, "desk", (), ("missing",)) == {}
    assert len(coordinator.asked) == 0
