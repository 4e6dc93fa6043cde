"""The triggers of schedules as typed values, and their conversion from and to a row's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from pancode.kernel.errors import UsageError
from pancode.kernel.names import find_nearest
from pancode.runs.occasions import OCCASIONS
from pancode.schedules.times import CronTimes, format_time

WEBHOOK = "webhook"
"""The trigger's value for a signed request from outside, where other triggers have an event's name."""
FILTERS = ("agent", "node", "repo", "outcome", "workflow")
"""The fields of an event by which a schedule can filter."""


@dataclass(frozen=True, slots=True)
class AtTime:
    """A trigger that fires once, at a fixed time."""

    at_ms: int
    zone: str


@dataclass(frozen=True, slots=True)
class OnEvent:
    """A trigger that fires when an event happens in the fleet."""

    occasion: str
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnPush:
    """A trigger of an older version, for a new head of a branch; its schedule is paused."""

    repo: str
    branch: str


@dataclass(frozen=True, slots=True)
class OnWebhook:
    """A trigger that fires on a request signed with the schedule's secret."""


Trigger = CronTimes | AtTime | OnEvent | OnPush | OnWebhook


def dump_trigger(trigger: Trigger) -> dict[str, object]:
    match trigger:
        case CronTimes(fields, zone):
            return {"kind": "cron", "cron": fields, "zone": zone}
        case AtTime(at_ms, zone):
            return {"kind": "at", "at_ms": at_ms, "zone": zone}
        case OnEvent(occasion, where):
            return {"kind": "event", "on": occasion, "where": dict(where)}
        case OnPush(repo, branch):
            return {"kind": "push", "repo": repo, "branch": branch}
        case OnWebhook():
            return {"kind": WEBHOOK}
    assert_never(trigger)


def trigger_of(data: Mapping[str, object]) -> Trigger:
    """Return the trigger that `dump_trigger` wrote."""
    zone = str(data.get("zone"))
    match data["kind"]:
        case "cron":
            return CronTimes(str(data["cron"]), zone)
        case "at":
            return AtTime(int(str(data["at_ms"])), zone)
        case "event":
            where = data["where"]
            return OnEvent(str(data["on"]), dict(where) if isinstance(where, Mapping) else {})
        case "webhook":
            return OnWebhook()
    return OnPush(str(data["repo"]), str(data["branch"]))


def words_of(trigger: Trigger) -> str:
    """Return the trigger as text for users."""
    match trigger:
        case CronTimes():
            return f"{trigger.words()}, {trigger.zone}"
        case AtTime(at_ms, zone):
            return f"once, {format_time(at_ms, zone)}"
        case OnEvent(occasion, where):
            only = "".join(f", {key} {value}" for key, value in sorted(where.items()))
            return f"on {occasion}{only}"
        case OnPush(repo, branch):
            return f"on a push to {branch} of {repo}"
        case OnWebhook():
            return "on a signed webhook"
    assert_never(trigger)


def first_ms(trigger: Trigger, now_ms: int) -> int | None:
    """Return the trigger's first time, or None if it does not fire by time."""
    if isinstance(trigger, CronTimes):
        return trigger.after(now_ms)
    return trigger.at_ms if isinstance(trigger, AtTime) else None


def on_event(occasion: str, where: Mapping[str, str]) -> OnEvent:
    """Return this event's trigger. UsageError for an unknown event or filter, which would never match."""
    if occasion not in OCCASIONS:
        raise _make_unknown_error("event", occasion, (*OCCASIONS, WEBHOOK))
    for key in where:
        if key not in FILTERS:
            raise _make_unknown_error("filter", key, FILTERS)
    return OnEvent(occasion, where)


def _make_unknown_error(kind: str, word: str, known: tuple[str, ...]) -> UsageError:
    near = find_nearest(word, known)
    why = f"did you mean {near}?" if near else ""
    fix = f"one of {', '.join(known)}"
    return UsageError(f"{kind} {word[:80]!r} not found", why=why, fix=fix, code="never_fires")


def secret_name(schedule: str) -> str:
    """Return the name under which the secret of a webhook schedule is stored."""
    return f"schedule-{schedule}"
