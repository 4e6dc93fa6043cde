"""The rows of schedules: work that begins by itself, and each of its beginnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from pancode.core.rows.base import Record, Table


class FiringState(StrEnum):
    """Life of one firing; the last four are ends."""

    WAITING = "waiting"
    """For the end of the one before it."""
    STARTING = "starting"
    """It has the id of its run or workflow, which may not be there yet."""
    BEGUN = "begun"
    REFUSED = "refused"
    """The work did not pass its gates, or could not be resolved."""
    FAILED = "failed"
    """A fault of our own."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Schedule(Record):
    """Work that begins at a time or on an event, as it was asked for."""

    TABLE: ClassVar = Table("schedules", ("name",))
    name: str
    created_ms: int
    created_by: str
    trigger: dict[str, object]
    """`kind`: cron, at, event or push; and its own words."""
    work: dict[str, object]
    """What begins: a dispatch or a workflow, with the caller's settings and preset."""
    missed: str = "once"
    """once, none, all: the missed times that fire later, when no coordinator was there."""
    overlap: bool = False
    """It may begin while its last one still runs."""
    paused: str | None = None
    """Why it does not fire now; None: it does."""
    seen_ms: int = 0
    """Its times up to this one have been dealt with."""
    next_ms: int | None = None
    """None: no time follows."""
    mark: str = ""
    """Of an event or a push: the newest one that has been dealt with."""
    trouble: str = ""
    """Why its repository could not be looked at; empty: it could."""


@dataclass(frozen=True, slots=True)
class Firing(Record):
    """One beginning of a schedule. No two have the same key: a time, event, commit or call."""

    TABLE: ClassVar = Table("firings", ("schedule", "key"), ("schedule,at_ms", "state", "run", "workflow"))
    schedule: str
    key: str
    """The minute in UTC, the number of an event, a commit, or the moment at which a person asked."""
    at_ms: int
    """When it was due."""
    state: FiringState = FiringState.WAITING
    run: str | None = None
    workflow: str | None = None
    reason: str = ""
    fix: str = ""
    cause: dict[str, object] = field(default_factory=dict)
    """The event, the commit or the person behind it; empty: its time had come."""
    depth: int = 0
    """How many firings on events led to this one."""
    late: bool = False
    """It makes up for a time at which nobody was there."""
    done_ms: int | None = None
