"""The workflows of the simulation: which steps need which, which judge in rounds, which write one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pancode.workflows.records import WorkflowKind
from tests.simulation.trees import VERDICT, Work

PROJECT = "/nonexistent/project"
NEVER = 1_000
"""So many rounds no judge waits for."""
Needs = Mapping[str, tuple[str, ...]]
_VERDICT = {"file": VERDICT, "schema": {"verdict": ["approved", "rejected"]}}


@dataclass(frozen=True)
class Loop:
    """A round goes from step `first` to step `judge`, which counts the rounds of `first`."""

    judge: str
    first: str
    most: int = 3

    def keys(self) -> dict[str, Any]:
        """What its plan says of that step."""
        until = {"field": "verdict", "equals": "approved"}
        return {"until": until, "most": self.most, "verdict": _VERDICT, "back_to": self.first}


@dataclass(frozen=True)
class Shape:
    """`git`: its steps work in checkouts. `clash`: by step, the file that others write, too."""

    kind: WorkflowKind
    steps: Needs
    git: bool = False
    loop: Loop | None = None
    clash: Mapping[str, str] = field(default_factory=dict)
    torn: str = ""
    """The step that would merge what does not go together."""

    def work(self, step: str, enough: int) -> Work:
        path = self.clash.get(step, f"{step}.txt")
        if self.loop is not None and step == self.loop.judge:
            return Work((path,), f"{self.loop.first}.txt", enough)
        return Work((path,))


_GRAPH = WorkflowKind.GRAPH
SHAPES: dict[str, Shape] = {
    "batch": Shape(WorkflowKind.BATCH, {"a": (), "b": (), "c": (), "d": ()}),
    "chain": Shape(WorkflowKind.CHAIN, {"a": (), "b": ("a",), "c": ("b",)}),
    "diamond": Shape(_GRAPH, {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}),
    "wide": Shape(_GRAPH, {"a": (), "b": (), "c": ("a", "b"), "d": ("a",)}),
    "race": Shape(WorkflowKind.RACE, {"a": (), "b": (), "c": ()}),
    "merge": Shape(
        _GRAPH, {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("a", "d", "c")}, git=True
    ),
    "clash": Shape(
        _GRAPH,
        {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")},
        git=True,
        clash={"b": "shared.txt", "c": "shared.txt"},
        torn="d",
    ),
    "rounds": Shape(
        _GRAPH,
        {"build": (), "review": ("build",), "ship": ("review",)},
        git=True,
        loop=Loop("review", "build"),
    ),
    "team": Shape(
        _GRAPH,
        {"left": (), "right": (), "join": ("left", "right"), "test": ("join",), "review": ("join", "test")},
        git=True,
        loop=Loop("review", "join"),
    ),
}
