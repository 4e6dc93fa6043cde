"""The tables of schedules."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from pancode.kernel.rows import Record, Table


class FiringState(StrEnum):
    """The states of one firing; the last four are final."""

    WAITING = "waiting"
    """The firing waits for the end of the previous one."""
    STARTING = "starting"
    """The firing has the id of its run or workflow, which may not exist yet."""
    BEGUN = "begun"
    REFUSED = "refused"
    """Admission refused the work, or the request was not valid."""
    FAILED = "failed"
    """PanCode itself failed."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Schedule(Record):
    """Work that begins at a time or on an event, as requested."""

    TABLE: ClassVar = Table("schedules", ("name",))
    name: str
    created_ms: int
    created_by: str
    trigger: dict[str, object]
    """`kind`: cron, at, event or webhook; and the settings of that kind."""
    work: dict[str, object]
    """What begins: a dispatch or a workflow, with the caller's settings and preset."""
    missed: str = "once"
    """Which of the times missed while no coordinator ran fire later: once, none or all."""
    overlap: bool = False
    """Whether a firing may begin while the last one still runs."""
    paused: str | None = None
    """Why the schedule is paused; None: it is not paused."""
    seen_ms: int = 0
    """The wall time in milliseconds up to which the schedule's times have been handled."""
    next_ms: int | None = None
    """When the schedule fires next; None: never by time."""
    mark: str = ""
    """The newest event that the schedule has handled."""


@dataclass(frozen=True, slots=True)
class Firing(Record):
    """One firing of a schedule. Its key, a time, event or call, is unique among firings."""

    TABLE: ClassVar = Table("firings", ("schedule", "key"), ("schedule,at_ms", "state", "run", "workflow"))
    schedule: str
    key: str
    """The minute in UTC, the number of an event, a commit, or the moment of a user's request."""
    at_ms: int
    """When the firing was due."""
    state: FiringState = FiringState.WAITING
    run: str | None = None
    workflow: str | None = None
    reason: str = ""
    fix: str = ""
    cause: dict[str, object] = field(default_factory=dict)
    """The event, commit or user that caused the firing; empty: a time of the schedule."""
    depth: int = 0
    """The length of the chain of event firings that led to this firing."""
    late: bool = False
    """Whether the firing replaces one that was missed while no coordinator ran."""
    done_ms: int | None = None
