"""The shapes of schedules in the API."""

from typing import Any

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class FiringShape(TypedDict):
    """One firing. `key`: the time, event or call that caused it; `cause`: the same, or a user."""

    key: str
    due_at: str
    state: str
    run: str | None
    workflow: str | None
    reason: str
    fix: str
    cause: dict[str, Any]
    late: bool
    done_at: str | None


class ScheduleShape(TypedDict):
    """Work that starts automatically. `next`: next five times as text; `running`: active run or workflow.

    `url`: the address of its webhook, if any; `secret`: the webhook's secret, only returned at its creation.
    `trigger`, `words`: what fires it, as JSON and as text. `task`: what it starts.
    """

    schedule: str
    created_at: str
    created_by: str
    trigger: dict[str, Any]
    words: str
    kind: str
    task: str
    missed: str
    overlap: bool
    paused: str | None
    next_at: str | None
    next: list[str]
    running: str | None
    firings: list[FiringShape]
    warnings: list[str]
    url: str | None
    secret: str | None


class SchedulesAnswer(TypedDict):
    schedules: list[ScheduleShape]


SCHEDULES = Route[SchedulesAnswer]("GET /v1/schedules")
ADD_SCHEDULE = Route[ScheduleShape]("POST /v1/schedules")
SCHEDULE = Route[ScheduleShape]("GET /v1/schedules/{schedule}")
PAUSE_SCHEDULE = Route[ScheduleShape]("POST /v1/schedules/{schedule}/pause")
RESUME_SCHEDULE = Route[ScheduleShape]("POST /v1/schedules/{schedule}/resume")
RUN_SCHEDULE = Route[ScheduleShape]("POST /v1/schedules/{schedule}/run")
