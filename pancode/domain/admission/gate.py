"""The answer of a gate: passed or not, in its own words, with the command that helps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """One gate's judgement. `warning`: passed, and the words say something to look at."""

    gate: str
    passed: bool
    words: str
    fix: str = ""
    warning: bool = False
    code: str = ""
    """Of a refusal that a face can do something about; else that of its gate."""


def passed(gate: str, words: str) -> GateVerdict:
    return GateVerdict(gate, True, words)


def warned(gate: str, words: str, fix: str = "") -> GateVerdict:
    return GateVerdict(gate, True, words, fix, warning=True)


def refused(gate: str, words: str, fix: str, code: str = "") -> GateVerdict:
    return GateVerdict(gate, False, words, fix, code=code)
