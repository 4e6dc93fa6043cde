"""The narrow rows that the account reads in place of whole runs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from node_agent.wire.failure import Outcome
from pancode.core.rows.base import Record, Table


@dataclass(frozen=True, slots=True)
class EndedRun(Record):
    """A run that has ended, as costs, records, workers and briefs count it. Written with the run itself."""

    TABLE: ClassVar = Table("ended_runs", ("run",), ("ended_ms", "last_ms"))
    run: str
    ended_ms: int
    agent: str
    model: str | None
    runtime: str
    kind: str
    """Of its task."""
    repository: str | None
    node: str | None
    outcome: Outcome
    started: bool
    counts: bool
    """Whether it says something of its agent: its receipt was accepted, and no other is at fault."""
    judges: bool
    """It has run the gates on the result of another run, and did no work of its own."""
    landed: bool
    reverted: bool
    left: bool
    """It needs a look of a person, as far as itself tells."""
    retry_of: str | None
    ms: int
    """From its first start to its end."""
    usd: Decimal
    """Booked, of all its attempts; and so are `tokens` and `agent_ms`."""
    tokens: int
    agent_ms: int
    unknown: bool
    """The cost of an attempt is not known."""
    first_ms: int | None
    """When something was booked for it first, and `last_ms` last; None: it never cost anything."""
    last_ms: int | None
