"""Loads the rows of one schedule, writes decisions about it, and publishes the events for them."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.kernel.names import not_found
from pancode.kernel.ports import Grouping, Transaction
from pancode.kernel.records import EventKind, Run, RunState
from pancode.kernel.values import replace
from pancode.kernel.visitors import token_behind
from pancode.runs.begun_later import must_still_speak
from pancode.runs.core import Core
from pancode.runs.dispatch import new_id_in
from pancode.runs.life.changes import Happened
from pancode.runs.unit_of_work import Work
from pancode.runs.whole_changes import find_larger
from pancode.schedules.records import Firing, FiringState, Schedule
from pancode.schedules.rules import Decided, ScheduleView
from pancode.schedules.work import work_of

KEPT = 500
"""How many firings of each schedule are kept: the newest ones."""
_UNDER_WAY = (FiringState.WAITING, FiringState.STARTING)
TOLD = (FiringState.REFUSED, FiringState.FAILED)
"""The states of firings that a user should be notified of."""


def find(tx: Transaction, name: str) -> Schedule:
    """Return the schedule. NotFoundError suggests the nearest name."""
    found = tx.get(Schedule, name)
    if found is None:
        raise not_found("schedule", name, [one.name for one in tx.find(Schedule)], "pancode schedule ls")
    return found


def list_newest(tx: Transaction, name: str, count: int) -> list[Firing]:
    """Return the schedule's newest firings, newest first."""
    return tx.find(Firing, {"schedule": name}, order="at_ms", descending=True, limit=count)


def load_view(core: Core, tx: Transaction, schedule: Schedule, called: Sequence[Firing] = ()) -> ScheduleView:
    """Return the schedule's current state. `called`: firings caused by events or a user."""
    known = list_newest(tx, schedule.name, KEPT)
    under_way = [one for one in reversed(known) if one.state in _UNDER_WAY]
    return ScheduleView(
        schedule=schedule,
        now_ms=core.wall_ms(),
        open=tuple(under_way),
        running=find_running(core, tx, known),
        fired=frozenset(one.key for one in known),
        called=tuple(called),
    )


def find_running(core: Core, tx: Transaction, known: Sequence[Firing]) -> str | None:
    """Return the id of a run or workflow of these firings that has not ended, or None."""
    begun = (one for one in known if one.state is FiringState.BEGUN)
    return next((found for one in begun if (found := _open(core, tx, one)) is not None), None)


def _open(core: Core, tx: Transaction, firing: Firing) -> str | None:
    if firing.workflow is not None:
        work = find_larger(core, tx, firing.workflow)
        return work.id if work is not None and work.is_open else None
    run = tx.get(Run, firing.run) if firing.run is not None else None
    return run.id if run is not None and run.state is not RunState.ENDED else None


def write_changes(work: Work, made: Decided) -> None:
    """Write the schedule and its firings; a firing that starts gets the id of its run or workflow."""
    work.tx.put(made.schedule)
    for one in made.firings:
        firing = _with_id(work, made.schedule, one) if one.state is FiringState.STARTING else one
        work.tx.put(firing)
        publish_firing(work, firing)
    _forget_old(work, made.schedule.name)


def _with_id(work: Work, schedule: Schedule, firing: Firing) -> Firing:
    """Assign an id to the firing's run before the run exists, so that a crash cannot start it twice."""
    if (plan := work_of(work.core, schedule).plan) is not None:
        return replace(firing, workflow=plan.new_id(work.core, work.tx))
    return replace(firing, run=new_id_in(work.core, work.tx))


def publish_firing(work: Work, firing: Firing) -> None:
    """Add the firing to the feed, and to the audit if a user should see it."""
    if firing.state in _UNDER_WAY:
        return
    data: dict[str, object] = {"schedule": firing.schedule, "state": firing.state.value}
    data |= {"workflow": firing.workflow, "reason": firing.reason[:500], "fix": firing.fix[:500]}
    data |= {"key": firing.key, "depth": firing.depth}
    run = firing.run if firing.state is FiringState.BEGUN else None
    work.happened(Happened(EventKind.SCHEDULE_FIRED, run, None, data))
    if firing.state in TOLD:
        about = {"schedule": firing.schedule, "words": firing.reason[:500], "key": firing.key}
        work.audit("schedule", "warning", f"firing {firing.state}", None, **about)


def _forget_old(work: Work, name: str) -> None:
    counted = work.tx.tally(Firing, Grouping(by=("schedule",), among={"schedule": (name,)}))
    beyond = sum(group.count for group in counted) - KEPT
    for one in work.tx.find(Firing, {"schedule": name}, order="at_ms", limit=beyond) if beyond > 0 else ():
        if one.state not in _UNDER_WAY:
            work.tx.delete(Firing, name, one.key)


def try_find(work: Work, name: str) -> Schedule | None:
    return work.tx.get(Schedule, name)


def count_schedules(work: Work) -> int:
    """Return the number of schedules."""
    return len(work.tx.find(Schedule))


def end_firing(work: Work, over: Firing) -> None:
    """Record that a firing has ended; if its schedule was removed meanwhile, only publish the event."""
    if work.tx.get(Firing, over.schedule, over.key) is not None:
        work.tx.put(over)
    publish_firing(work, over)


def must_have_its_token(tx: Transaction, schedule: Schedule, now_ms: int) -> None:
    """Raise RefusedError if the token that created the schedule was revoked or has expired."""
    fix = f"pancode schedule rm {schedule.name}; then a user must add it again: pancode schedule add"
    by, what = schedule.created_by, f"schedule {schedule.name}"
    must_still_speak(tx, by, schedule.created_ms, what, fix, now_ms)


def pause_of_token(work: Work, token: str) -> list[str]:
    """Pause the schedules that a revoked token created; return their names."""
    mine = [one for one in work.tx.find(Schedule) if token_behind(one.created_by) == token]
    for schedule in mine:
        if schedule.paused is None:
            work.tx.put(replace(schedule, paused=f"the token {token} that created it was revoked"))
    return sorted(one.name for one in mine)


def remove(work: Work, name: str) -> None:
    """Delete the schedule with all its firings."""
    for firing in work.tx.find(Firing, {"schedule": name}):
        work.tx.delete(Firing, name, firing.key)
    work.tx.delete(Schedule, name)
