"""The answer of a gate: passed or not, in its own words, with the command that helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pancode.runs.life.inbox import ItemKind


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """One gate's judgement. `warning`: the gate let the run pass, but its words name something to look at."""

    gate: str
    passed: bool
    words: str
    fix: str = ""
    warning: bool = False
    code: str = ""
    """The refusal's own code where a face can act on that code; empty: the code of its gate counts."""
    lifts: str = ""
    """The kind of inbox item with which a user may lift this refusal (`ItemKind`); empty: nobody may."""
    until_ms: int | None = None
    """The time at which the refusal ends by itself; None: it does not."""


def make_pass(gate: str, words: str) -> GateVerdict:
    return GateVerdict(gate, True, words)


def make_warning(gate: str, words: str, fix: str = "") -> GateVerdict:
    return GateVerdict(gate, True, words, fix, warning=True)


def make_refusal(gate: str, words: str, fix: str, code: str = "", lifts: str = "") -> GateVerdict:
    return GateVerdict(gate, False, words, fix, code=code, lifts=lifts)


def asks_for(verdicts: Sequence[GateVerdict]) -> str:
    """Return the kind of inbox item to ask with: an exception of a budget or a rule, else a dispatch."""
    lifted = {verdict.lifts for verdict in verdicts if not verdict.passed}
    found = (kind for kind in (ItemKind.BUDGET, ItemKind.POLICY) if kind.value in lifted)
    return next(found, ItemKind.DISPATCH).value


def list_objections(verdicts: Sequence[GateVerdict]) -> tuple[str, ...]:
    """The objections of the gates, in words."""
    return tuple(f"{one.gate}: {one.words}" for one in verdicts if not one.passed)
