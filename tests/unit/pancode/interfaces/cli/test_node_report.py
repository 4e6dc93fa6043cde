"""What a node tells after a command has changed something there."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pancode.interfaces.cli import node_report
from pancode.interfaces.client.client import Client


class Told:
    """The coordinator, whose nodes tell one state after the other."""

    def __init__(self, *states: str) -> None:
        self.states, self.asked = list(states), 0

    def get(self, path: str) -> dict[str, Any]:
        self.asked += 1
        state = self.states[min(self.asked, len(self.states)) - 1]
        rows = [("desk", state), ("other", "missing")]
        nodes = [{"node": node, "state": state} for node, state in rows]
        return {"runtimes": [{"name": name, "nodes": nodes} for name in ("claude", "codex")]}


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
    coordinator = Told(*states)
    facts = node_report.facts_after(cast("Client", coordinator), "desk", ("claude",), ("missing", "looking"))
    assert coordinator.asked == asked
    assert facts == {"claude": {"node": "desk", "state": last}}


def test_where_no_runtime_is_meant_nothing_is_asked() -> None:
    coordinator = Told("missing")
    assert node_report.facts_after(cast("Client", coordinator), "desk", (), ("missing",)) == {}
    assert coordinator.asked == 0
