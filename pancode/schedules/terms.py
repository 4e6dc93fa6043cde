"""When a schedule fires, declared once: the API, the command line and a request have these values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pancode.kernel.declared import Labels, Value, value, values_of

Words: TypeAlias = str
Missed: TypeAlias = str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTerms:
    """When a schedule fires; exactly one of `cron`, `at` and `on` is given."""

    cron: Words | None = value("Five cron fields, or @hourly, @daily, @weekly, @monthly, @yearly.", "WORDS")
    at: Words | None = value("Start once: '2026-12-24 08:00', 08:00, or with an offset.", "TIME")
    on: Words | None = value(
        "Start on an event: run.failed, run.done, run.asks, workflow.failed, node.lost ..., or on a webhook.",
        "EVENT",
    )
    where: Labels = value(
        "Start only on events that match: agent, node, repo, outcome, workflow; may be repeated.",
        "KEY=VALUE",
        default={},
    )
    missed: Missed = value(
        "For times missed while no coordinator ran: start once for all, not at all, or once for each.",
        words=("once", "none", "all"),
        default="once",
    )
    overlap: bool = value("Start even if the schedule's last run is still running.", default=False)
    zone: Words | None = value("Time zone of --cron and --at (default: this machine's).", "ZONE")


TERMS = values_of(ScheduleTerms, Value)
"""The values by name."""
