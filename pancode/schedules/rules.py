"""Decides what a schedule fires now, what it leaves out, and when it is looked at again. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pancode.kernel.formatting import count_noun
from pancode.kernel.records import Firing, FiringState, Schedule
from pancode.kernel.values import replace
from pancode.schedules.model import AtTime, OnPush, OnWebhook, trigger_of
from pancode.schedules.times import CronTimes, format_minute

LATE_MS = 120_000
"""A firing within so many milliseconds after its time was not missed."""
MOST_MISSED = 100
"""How many missed times are made up for at most: the newest ones."""
MOST_DEPTH = 3
"""How many firings on events may follow from each other; then no further one follows."""
NEWER = "a newer commit was pushed before this one began"
NEWER_CALL = "a newer webhook came before this one began"


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule as it is now. `open`: its firings that wait or start, the oldest first."""

    schedule: Schedule
    now_ms: int
    open: tuple[Firing, ...] = ()
    running: str | None = None
    """The schedule's run or workflow that has not ended; None: there is none."""
    fired: Collection[str] = ()
    """Keys of firings that have fired already, as far as they could come due again."""
    called: tuple[Firing, ...] = ()
    """Firings that come from events, pushes or a user, not from a clock."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The schedule after the decision, and the firings that are new or changed."""

    schedule: Schedule
    firings: tuple[Firing, ...] = field(default=())


def decide(view: ScheduleView) -> Decided:
    """Add the firings that are due; begin those of the waiting firings for which there is room."""
    # Events and pushes of a paused schedule are left out; a user's word counts.
    kept = [one for one in view.called if one.key not in view.fired]
    due = [*[one for one in kept if view.schedule.paused is None or "by" in one.cause], *_due(view)]
    # After a clock was set back its times come again, and a key keeps each from firing twice.
    schedule = replace(view.schedule, seen_ms=view.now_ms, next_ms=_next(view))
    # A firing begins, waits, or is left out as another one runs.
    changed: list[Firing] = []
    trigger = trigger_of(view.schedule.trigger)
    gathers = isinstance(trigger, OnPush | OnWebhook)
    """Whether only the newest is kept of the firings that come while one runs."""
    waiting = [one for one in (*view.open, *due) if one.state is FiringState.WAITING]
    changed += [one for one in due if one.state is not FiringState.WAITING]
    if gathers and len(waiting) > 1:
        newer = NEWER if isinstance(trigger, OnPush) else NEWER_CALL
        changed += [_over(one, FiringState.SKIPPED, newer, view.now_ms) for one in waiting[:-1]]
        waiting = waiting[-1:]
    busy = view.running or _starting(view.open)
    for one in waiting:
        if view.schedule.paused is not None and "by" not in one.cause:
            continue
        if busy is None or view.schedule.overlap:
            changed.append(replace(one, state=FiringState.STARTING))
            busy = "the one before it"
        elif one.late or gathers:  # it has its turn when the other one has ended
            changed += [one] if one in due else []
        else:
            why = f"{busy} has not ended; to allow two at once: --overlap"
            changed.append(_over(one, FiringState.SKIPPED, why, view.now_ms))
    return Decided(schedule, tuple(changed))


def _next(view: ScheduleView) -> int | None:
    trigger = trigger_of(view.schedule.trigger)
    if isinstance(trigger, CronTimes):
        return trigger.after(view.now_ms)
    if isinstance(trigger, AtTime):
        return trigger.at_ms if trigger.at_ms > view.now_ms else None
    return None


def _due(view: ScheduleView) -> list[Firing]:
    """Return firings for the schedule's times since it was last looked at, as its rule for missed times
    says."""
    if view.schedule.paused is not None:
        return []
    times = [ms for ms in _times(view) if format_minute(ms) not in view.fired]
    on_time = [ms for ms in times if view.now_ms - ms <= LATE_MS]
    missed = [ms for ms in times if view.now_ms - ms > LATE_MS]
    made = [_firing(view, ms) for ms in on_time]
    match view.schedule.missed:
        case "all":
            return [*(_firing(view, ms, late=True) for ms in missed), *made]
        case "none":
            return [*_left_out(view, missed, "--missed none"), *made]
    if not missed or on_time:  # the one that is on time makes up for the others, too
        return [*_left_out(view, missed, "the next one makes up for it"), *made]
    why = "" if len(missed) == 1 else f"makes up for {count_noun(len(missed), 'time')}"
    return [replace(_firing(view, missed[-1], late=True), reason=why)]


def _times(view: ScheduleView) -> Sequence[int]:
    schedule, now = view.schedule, view.now_ms
    trigger = trigger_of(schedule.trigger)
    if isinstance(trigger, AtTime):
        return [trigger.at_ms] if schedule.seen_ms < trigger.at_ms <= now else []
    if not isinstance(trigger, CronTimes):
        return []
    return trigger.between(schedule.seen_ms, now, MOST_MISSED)


def _firing(view: ScheduleView, ms: int, late: bool = False) -> Firing:
    return Firing(view.schedule.name, format_minute(ms), ms, late=late)


def _left_out(view: ScheduleView, missed: Sequence[int], why: str) -> list[Firing]:
    """Return one skipped firing that stands for all these missed times."""
    if not missed:
        return []
    reason = f"missed {count_noun(len(missed), 'time')} while nobody was there to fire; {why}"
    return [_over(_firing(view, missed[-1], late=True), FiringState.SKIPPED, reason, view.now_ms)]


def _starting(known: Sequence[Firing]) -> str | None:
    found = (one for one in known if one.state is FiringState.STARTING)
    one = next(found, None)
    return None if one is None else one.run or one.workflow or "the one before it"


def _over(firing: Firing, state: FiringState, reason: str, now_ms: int) -> Firing:
    return replace(firing, state=state, reason=reason, done_ms=now_ms)


def too_deep(schedule: str, depth: int, chain: Collection[str]) -> str | None:
    """Why an event that these schedules have led to does not fire this one; None: it does fire."""
    if schedule in chain:
        return "a run of this schedule caused the event"
    if depth > MOST_DEPTH:
        return f"{MOST_DEPTH} firings on events have led to it"
    return None
