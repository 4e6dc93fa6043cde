"""Values of the console: what the coordinator has said, where the person was, who makes its readers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pancode.errors import PancodeError
from pancode.tui.logreader import LogReader
from pancode.tui.moment import PageMoment
from pancode.tui.page import PagePlace
from pancode.tui.reader import Reader, Say


class Source(Protocol):
    """Makes the readers of the console."""

    def reader(self, say: Say) -> Reader: ...
    def log(self, run: str) -> LogReader: ...


@dataclass(slots=True)
class Visit:
    """A place on the way back, as the person left it: its filter, and the key of the marked row."""

    place: PagePlace
    word: str = ""
    key: str = ""


@dataclass(slots=True)
class KnownAnswers:
    """The newest answers. `as_of`: of when they are; `heard_ms`: the same on the clock since boot."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    as_of: PageMoment | None = None
    heard_ms: int = 0
    away: PancodeError | None = None
    refused: PancodeError | None = None

    def has(self, names: Collection[str]) -> bool:
        return set(names) <= set(self.answers)

    def keep(self, names: Collection[str]) -> None:
        """Forget the answers of other names: they were about another place."""
        self.answers = {name: answer for name, answer in self.answers.items() if name in names}
        self.refused = None
