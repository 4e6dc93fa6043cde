"""The shapes of schedules for the API."""

from __future__ import annotations

from collections.abc import Iterator

from pancode.kernel.declared import make_answer
from pancode.kernel.ports import Transaction
from pancode.runs.answers import Need, NeedAct, NeedGroup
from pancode.runs.core import Core
from pancode.runs.views import format_iso, format_optional_iso
from pancode.schedules import store as rows
from pancode.schedules.answers import FiringShape, ScheduleShape
from pancode.schedules.model import AtTime, trigger_of, words_of
from pancode.schedules.records import Firing, FiringState, Schedule
from pancode.schedules.times import CronTimes, format_time
from pancode.schedules.work import work_of

NEXT, FIRINGS = 5, 20
_TASK = 200


def list_schedules(core: Core) -> list[ScheduleShape]:
    """Return all schedules by name, each with its last firing."""
    with core.ports.ledger.transaction() as tx:
        return [_shape(core, tx, one, 1) for one in tx.find(Schedule)]


def get_schedule(core: Core, name: str, warnings: tuple[str, ...] = ()) -> ScheduleShape:
    """Return one schedule with its last firings. NotFoundError for an unknown name."""
    with core.ports.ledger.transaction() as tx:
        return {**_shape(core, tx, rows.find(tx, name), FIRINGS), "warnings": list(warnings)}


def preview_schedule(core: Core, schedule: Schedule, warnings: tuple[str, ...]) -> ScheduleShape:
    """Return a schedule that is not stored yet, as the API would show it."""
    with core.ports.ledger.transaction() as tx:
        return {**_shape(core, tx, schedule, 0), "warnings": list(warnings)}


def list_needs(core: Core, tx: Transaction) -> Iterator[Need]:
    """Yield a need for each schedule whose newest finished firing was refused or failed, until the schedule
    fires again, is paused or is removed."""
    for schedule in tx.find(Schedule):
        newest = rows.list_newest(tx, schedule.name, FIRINGS) if schedule.paused is None else []
        last = next((one for one in newest if one.state in (FiringState.BEGUN, *rows.TOLD)), None)
        if last is not None and last.state in rows.TOLD:
            name = f"schedule:{schedule.name}:{last.key}"
            yield Need(
                id=name,
                group=NeedGroup.FAILED,
                state=last.state.value,
                title=f"schedule {schedule.name}",
                headline=last.reason[:160],
                command=f"pancode schedule show {schedule.name}",
                since=format_optional_iso(last.done_ms),
                run=last.run,
                workflow=last.workflow,
                words=last.reason,
                acts=(NeedAct.done(name),),
            )


def _shape(core: Core, tx: Transaction, schedule: Schedule, firings: int) -> ScheduleShape:
    trigger, now = trigger_of(schedule.trigger), core.wall_ms()
    times: list[int] = []
    is_paused = schedule.paused is not None  # then it fires at none of its times
    if isinstance(trigger, CronTimes) and not is_paused:
        times = trigger.next(now, NEXT)
    elif isinstance(trigger, AtTime) and trigger.at_ms > now and not is_paused:
        times = [trigger.at_ms]
    known = rows.list_newest(tx, schedule.name, FIRINGS)
    work = work_of(core, schedule)
    return make_answer(
        ScheduleShape,
        schedule,
        schedule=schedule.name,
        words=words_of(trigger),
        kind=str(schedule.work["kind"]),
        task=" ".join(work.words().split())[:_TASK],
        next_at=format_optional_iso(times[0]) if times else None,
        next=[format_time(ms, str(schedule.trigger.get("zone"))) for ms in times],
        running=rows.find_running(core, tx, known),
        firings=[_describe_firing(one) for one in known[:firings]],
        warnings=[],
        url=None,
        secret=None,
    )


def _describe_firing(one: Firing) -> FiringShape:
    return make_answer(FiringShape, one, due_at=format_iso(one.at_ms))
