"""The table of notes that runs leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from pancode.kernel.rows import Record, Table


@dataclass(frozen=True, slots=True)
class RunNote(Record):
    """A note on what a run in a repository or lane decided, did and left open, from its accepted receipt."""

    TABLE: ClassVar = Table("notes", ("run",), ("project,at_ms", "at_ms"))
    run: str
    at_ms: int
    project: str
    """Absolute path of the user's repository; empty: there is none."""
    agent: str
    commit: str | None
    """The commit of the run's result; None: it changed nothing."""
    receipt: str
    """The receipt's digest; empty: unknown."""
    task: str
    """The run's task, shortened."""
    parts: dict[str, str] = field(default_factory=dict, hash=False)
    """The parts of the run's report, by their names in the report form."""


TABLES: tuple[type[Record], ...] = (RunNote,)
