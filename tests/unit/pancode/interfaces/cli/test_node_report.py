"""What a node tells after a command has changed something there."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli import node_report
from tests.fakes.answers import runtime, runtimes
from tests.fakes.api import FakeApi


def telling(*states: str) -> FakeApi:
    """The coordinator, whose nodes tell one state after the other, and then the last."""

    def answer(path: str, query: object) -> dict[str, Any]:
        state = states[min(len(api.asked), len(states)) - 1]
        rows = [("desk", state), ("other", "missing")]
        nodes = [runtime("claude", state, node=node) for node, state in rows]
        return {"runtimes": [runtimes(name, *nodes) for name in ("claude", "codex")]}

    api = FakeApi({"GET /v1/runtimes": answer})
    return api


@pytest.mark.parametrize(
    ("states", "asked", "last"),
    [
        (("ok",), 1, "ok"),
        (("missing", "looking", "not_logged_in", "ok"), 3, "not_logged_in"),
        (("missing",), 20, "missing"),
    ],
)
def test_it_waits_for_that_node_and_those_runtimes_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, states: tuple[str, ...], asked: int, last: str
) -> None:
    monkeypatch.setattr(node_report, "_LOOK_S", 0)
    coordinator = telling(*states)
    facts = node_report.facts_after(coordinator, "desk", ("claude",), ("missing", "looking"))
    assert len(coordinator.asked) == asked
    assert {name: (fact["node"], fact["state"]) for name, fact in facts.items()} == {"claude": ("desk", last)}


def test_where_no_runtime_is_meant_nothing_is_asked() -> None:
    coordinator = telling("missing")
    assert node_report.facts_after(coordinator, "desk", (), ("missing",)) == {}
    assert len(coordinator.asked) == 0
