"""A schedule as a user or a program requests it, before validation."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import zone_of
from pancode.schedules.model import WEBHOOK, AtTime, OnWebhook, Trigger, on_event
from pancode.schedules.terms import ScheduleTerms
from pancode.schedules.times import CronTimes, read_at
from pancode.schedules.work import PlannedWork

MOST_HOOK_NAME = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSchedule(ScheduleTerms):
    """A requested schedule. Without a zone, its times are in UTC."""

    name: str
    by: str
    work: PlannedWork


def wanted_trigger(request: AskedSchedule, now_ms: int) -> Trigger:
    """Return the requested trigger. UsageError unless there is exactly one, or if it can never fire."""
    given = [one for one in (request.cron, request.at, request.on) if one is not None]
    if len(given) != 1:
        what = "does not define when it fires" if not given else "defines more than one trigger"
        fix = "use one of --cron '30 2 * * *', --at '2026-12-24 08:00', --on run.failed"
        raise UsageError(f"the schedule {what}", fix=fix, code="bad_value")
    if request.where and request.on in (None, WEBHOOK):
        raise UsageError("--where requires --on EVENT", fix="omit it, or add --on run.failed")
    zone = request.zone or "UTC"
    zone_of(zone)
    if request.on == WEBHOOK:
        _check_name(request.name)
        return OnWebhook()
    if request.cron is not None:
        return CronTimes.read(request.cron, zone, now_ms)
    if request.at is not None:
        return AtTime(read_at(request.at, zone, now_ms), zone)
    return on_event(str(request.on), request.where)


def _check_name(name: str) -> None:
    """Raise UsageError for a name that cannot be part of an address or of a secret's file name."""
    if "." in name or len(name) > MOST_HOOK_NAME:
        what = f"{name[:80]!r} is not a valid name for a schedule on a webhook"
        why = f"its secret has the same name, so use at most {MOST_HOOK_NAME} characters and no dot"
        raise UsageError(what, why=why, fix="pancode schedule add on-call --on webhook ...", code="bad_name")
