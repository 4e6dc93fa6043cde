"""A comment on a run's change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class ReviewComment(Record):
    """A comment on the change of `run`.

    `file`: its path; empty: the whole change. `line` to `last`: its lines on `side`, new or old; 0: the whole
    file. `quote`: the first of them. `is_person`: a person wrote it, not a program with a token. `number`:
    its number in the message of its round; `sent_in`: the run that got that message; empty: not sent.
    `is_closed`: a user has ticked it off.
    """

    TABLE: ClassVar = Table("comments", ("id",), ("run", "sent_in"))
    id: str
    run: str
    file: str
    line: int
    last: int
    side: str
    quote: str
    words: str
    by: str
    is_person: bool
    at_ms: int
    number: int = 0
    sent_in: str = ""
    is_closed: bool = False

    @property
    def place(self) -> str:
        """Return where it stands, as `app.py:3-5`; `the change` for all of it."""
        lines = f":{self.line}" + (f"-{self.last}" if self.last > self.line else "") if self.line else ""
        return f"{self.file}{lines}" + (" (removed)" if self.side == "old" else "") or "the change"
