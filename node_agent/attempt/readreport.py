"""The values that the readers of JUnit and SARIF return: the tool of a file, and its results."""

from __future__ import annotations

from dataclasses import dataclass

from node_agent.wire.model import MOST
from node_agent.wire.receipt import ReportLevel


class UnreadableReportError(Exception):
    """The reason why a report cannot be read, in words for a person."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """One result as the file has it. Empty texts are unknown."""

    level: ReportLevel
    rule: str
    file: str
    line: int | None
    text: str


@dataclass(frozen=True, slots=True)
class ReadReport:
    """The whole file."""

    tool: str
    results: list[ReadResult]


def line_number(value: object) -> int | None:
    """A line from 1 on; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST
    return value if isinstance(value, int) and whole else None
