"""The answer of a gate: passed or not, in its own words, with the command that helps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """One gate's judgement. `warning`: it passed, and its words name something to look at."""

    gate: str
    passed: bool
    words: str
    fix: str = ""
    warning: bool = False
    code: str = ""
    """The refusal's own code if a face can act on it; else that of its gate."""
    lifts: str = ""
    """The kind of inbox item with which a person may lift this refusal (`ItemKind`); empty: nobody may."""
    until_ms: int | None = None
    """The moment when a refusal ends by itself."""


def passed(gate: str, words: str) -> GateVerdict:
    return GateVerdict(gate, True, words)


def warned(gate: str, words: str, fix: str = "") -> GateVerdict:
    return GateVerdict(gate, True, words, fix, warning=True)


def refused(gate: str, words: str, fix: str, code: str = "", lifts: str = "") -> GateVerdict:
    return GateVerdict(gate, False, words, fix, code=code, lifts=lifts)
