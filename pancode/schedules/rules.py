"""Decides what a schedule fires now, what it skips, and when it is checked again. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pancode.kernel.formatting import count_noun
from pancode.kernel.values import replace
from pancode.schedules.model import AtTime, OnWebhook, trigger_of
from pancode.schedules.records import Firing, FiringState, Schedule
from pancode.schedules.times import CronTimes, format_minute

LATE_MS = 120_000
"""A firing that is at most this many milliseconds late does not count as missed."""
MOST_MISSED = 100
"""How many missed times are caught up at most: the newest ones."""
MOST_DEPTH = 3
"""The maximum length of a chain of firings that cause each other; the next firing is skipped."""
NEWER_CALL = "a newer webhook arrived before this firing started"


def held_name(schedule: str) -> str:
    """Return the name of a schedule in the hold of a restored ledger."""
    return f"schedule:{schedule}"


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule's current state. `open`: its firings that wait or start, oldest first."""

    schedule: Schedule
    now_ms: int
    open: tuple[Firing, ...] = ()
    running: str | None = None
    """The schedule's run or workflow that has not ended, or None."""
    fired: Collection[str] = ()
    """Keys of past firings whose times could come again."""
    called: tuple[Firing, ...] = ()
    """Firings caused by events or a user, not by a clock."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision: the new state of the schedule, and the firings that are new or changed."""

    schedule: Schedule
    firings: tuple[Firing, ...] = field(default=())


def decide(view: ScheduleView) -> Decided:
    """Add the firings that are due, and start the waiting ones that may start now."""
    # A paused schedule skips events, but not a user's request.
    kept = [one for one in view.called if one.key not in view.fired]
    due = [*[one for one in kept if view.schedule.paused is None or "by" in one.cause], *_list_due(view)]
    # After a clock was set back, the same times come again; the firing's key prevents a second firing.
    schedule = replace(view.schedule, seen_ms=view.now_ms, next_ms=_find_next_ms(view))
    # A firing starts, waits, or is skipped because another one is active.
    changed: list[Firing] = []
    trigger = trigger_of(view.schedule.trigger)
    gathers = isinstance(trigger, OnWebhook)
    """Whether only the newest of the firings that arrive during another one is kept."""
    waiting = [one for one in (*view.open, *due) if one.state is FiringState.WAITING]
    changed += [one for one in due if one.state is not FiringState.WAITING]
    if gathers and len(waiting) > 1:
        changed += [_end_firing(one, FiringState.SKIPPED, NEWER_CALL, view.now_ms) for one in waiting[:-1]]
        waiting = waiting[-1:]
    busy = view.running or _find_starting(view.open)
    for one in waiting:
        if view.schedule.paused is not None and "by" not in one.cause:
            continue
        if busy is None or view.schedule.overlap:
            changed.append(replace(one, state=FiringState.STARTING))
            busy = "the previous firing"
        elif one.late or gathers:  # The waiting firing starts when the active one has ended.
            changed += [one] if one in due else []
        else:
            why = f"{busy} has not ended; use --overlap to allow both at the same time"
            changed.append(_end_firing(one, FiringState.SKIPPED, why, view.now_ms))
    return Decided(schedule, tuple(changed))


def _find_next_ms(view: ScheduleView) -> int | None:
    trigger = trigger_of(view.schedule.trigger)
    if isinstance(trigger, CronTimes):
        return trigger.after(view.now_ms)
    if isinstance(trigger, AtTime):
        return trigger.at_ms if trigger.at_ms > view.now_ms else None
    return None


def _list_due(view: ScheduleView) -> list[Firing]:
    """Return the firings due since the last check, according to the rule for missed times."""
    if view.schedule.paused is not None:
        return []
    times = [ms for ms in _list_times(view) if format_minute(ms) not in view.fired]
    on_time = [ms for ms in times if view.now_ms - ms <= LATE_MS]
    missed = [ms for ms in times if view.now_ms - ms > LATE_MS]
    made = [_make_firing(view, ms) for ms in on_time]
    match view.schedule.missed:
        case "all":
            return [*(_make_firing(view, ms, late=True) for ms in missed), *made]
        case "none":
            return [*_left_out(view, missed, "--missed none"), *made]
    if not missed or on_time:  # The firing that is on time also makes up for the missed ones.
        return [*_left_out(view, missed, "the next firing makes up for it"), *made]
    why = "" if len(missed) == 1 else f"makes up for {count_noun(len(missed), 'time')} that were missed"
    return [replace(_make_firing(view, missed[-1], late=True), reason=why)]


def _list_times(view: ScheduleView) -> Sequence[int]:
    schedule, now = view.schedule, view.now_ms
    trigger = trigger_of(schedule.trigger)
    if isinstance(trigger, AtTime):
        return [trigger.at_ms] if schedule.seen_ms < trigger.at_ms <= now else []
    if not isinstance(trigger, CronTimes):
        return []
    return trigger.between(schedule.seen_ms, now, MOST_MISSED)


def _make_firing(view: ScheduleView, ms: int, late: bool = False) -> Firing:
    return Firing(view.schedule.name, format_minute(ms), ms, late=late)


def _left_out(view: ScheduleView, missed: Sequence[int], why: str) -> list[Firing]:
    """Return one skipped firing that represents all these missed times."""
    if not missed:
        return []
    reason = f"missed {count_noun(len(missed), 'time')} while no coordinator was running; {why}"
    return [_end_firing(_make_firing(view, missed[-1], late=True), FiringState.SKIPPED, reason, view.now_ms)]


def _find_starting(known: Sequence[Firing]) -> str | None:
    found = (one for one in known if one.state is FiringState.STARTING)
    one = next(found, None)
    return None if one is None else one.run or one.workflow or "the previous firing"


def _end_firing(firing: Firing, state: FiringState, reason: str, now_ms: int) -> Firing:
    return replace(firing, state=state, reason=reason, done_ms=now_ms)


def too_deep(schedule: str, depth: int, chain: Collection[str]) -> str | None:
    """Return why an event caused by the schedules in `chain` must not fire this schedule; None if it may."""
    if schedule in chain:
        return "a run of this schedule caused the event"
    if depth > MOST_DEPTH:
        return f"a chain of {MOST_DEPTH} firings led to the event"
    return None
