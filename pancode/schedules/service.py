"""The operations of a user on schedules: add, pause, resume, fire now, remove."""

from __future__ import annotations

from pancode.kernel.errors import ConflictError, UsageError
from pancode.kernel.names import plain_name
from pancode.kernel.values import replace
from pancode.runs.admission.gates import first_refused
from pancode.runs.core import Core
from pancode.runs.dispatch import dry_run
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import Surroundings
from pancode.schedules import store as rows
from pancode.schedules.model import OnEvent, OnPush, dump_trigger, first_ms, trigger_of
from pancode.schedules.records import Firing, Schedule
from pancode.schedules.request import AskedSchedule, wanted_trigger
from pancode.schedules.rules import decide
from pancode.schedules.work import PlannedWork, work_of

MOST = 500
"""How many schedules a fleet may have."""


def plan_schedule(
    core: Core, around: Surroundings, request: AskedSchedule
) -> tuple[Schedule, tuple[str, ...]]:
    """Return the schedule's row, and warnings about gates that would refuse its work now; gates apply at each
    firing. UsageError for invalid values; RefusedError for a workflow file that needs approval."""
    plain_name("schedule", request.name, "pancode schedule add nightly ...")
    if request.work.plan is not None:
        request = replace(request, work=replace(request.work, plan=request.work.plan.restrict(core)))
    now = core.wall_ms()
    trigger = wanted_trigger(request, now)
    mark = str(core.feed.last) if isinstance(trigger, OnEvent) else ""
    schedule = Schedule(
        name=request.name,
        created_ms=now,
        created_by=request.by,
        trigger=dump_trigger(trigger),
        work=request.work.row(),
        missed=request.missed,
        overlap=request.overlap,
        seen_ms=now,
        next_ms=first_ms(trigger, now),
        mark=mark,
    )
    return schedule, tuple(_list_refusals(core, around, request.work))


def add_schedule(core: Core, schedule: Schedule) -> None:
    """Add the schedule. ConflictError if its name is taken."""
    with unit_of_work(core) as work:
        if rows.try_find(work, schedule.name) is not None:
            raise ConflictError(
                f"schedule {schedule.name} already exists",
                fix=f"choose another name, or remove it: pancode schedule rm {schedule.name}",
                code="name_taken",
            )
        if rows.count_schedules(work) >= MOST:
            raise UsageError(
                f"the fleet already has the maximum of {MOST} schedules", fix="pancode schedule rm NAME"
            )
        work.tx.insert(schedule)
        _write_audit(work, "schedule added", schedule.name, schedule.created_by)


def pause_former(core: Core, schedule: Schedule) -> None:
    """Pause a schedule of an older version that started on a push."""
    if isinstance(trigger_of(schedule.trigger), OnPush) and schedule.paused is None:
        pause_schedule(core, schedule.name, explain_former(schedule.name), "PanCode")


def explain_former(name: str) -> str:
    return f"PanCode watches no branch; in a hook of git or in CI, run: pancode schedule run {name}"


def pause_schedule(core: Core, name: str, reason: str, by: str) -> None:
    """Pause the schedule until it is resumed; running work continues. Idempotent."""
    with unit_of_work(core) as work:
        schedule = rows.find(work.tx, name)
        work.tx.put(replace(schedule, paused=reason or schedule.paused or f"paused by {by}"))
        _write_audit(work, "schedule paused", name, by)


def resume_schedule(core: Core, name: str, by: str) -> None:
    """Resume; paused times are not missed. Idempotent. RefusedError if the token that made it is invalid."""
    with unit_of_work(core) as work:
        schedule = rows.find(work.tx, name)
        if schedule.paused is None:
            return
        if isinstance(trigger_of(schedule.trigger), OnPush):
            why, fix = "it started on a push, which no longer starts work", explain_former(name)
            raise UsageError(f"{name} cannot be resumed", why=why, fix=fix, code="never_fires")
        rows.must_have_its_token(work.tx, schedule, core.wall_ms())
        made = decide(rows.load_view(core, work.tx, replace(schedule, paused=None, seen_ms=core.wall_ms())))
        rows.write_changes(work, made)
        _write_audit(work, "schedule resumed", name, by)


def skip_until_now(core: Core, name: str, by: str) -> None:
    """Let a schedule that was held fire from its next time on: times while it is paused are not missed."""
    pause_schedule(core, name, "held since the restore", by)
    resume_schedule(core, name, by)


def fire_now(core: Core, name: str, by: str) -> str:
    """Fire now, even if it is paused; return the firing's key. ConflictError while its last firing runs."""
    with unit_of_work(core) as work:
        schedule = rows.find(work.tx, name)
        view = rows.load_view(core, work.tx, schedule)
        busy = view.running or next((one.key for one in view.open), None)
        if busy is not None and not schedule.overlap:
            raise ConflictError(
                f"{name} is already running: {busy}",
                why="the schedule was created without --overlap",
                fix=f"wait for its end, or stop it: pancode runs stop {busy}",
                code="still_runs",
            )
        now = core.wall_ms()
        firing = Firing(name, f"by hand {now}", now, cause={"by": by})
        # The schedule's times do not change: only the requested firing is decided.
        made = decide(replace(view, schedule=replace(schedule, seen_ms=now), called=(firing,)))
        rows.write_changes(work, replace(made, schedule=schedule))
        _write_audit(work, "schedule fired manually", name, by)
        return firing.key


def remove_schedule(core: Core, name: str, by: str) -> None:
    """Remove the schedule and its firings; runs that it has started continue."""
    with unit_of_work(core) as work:
        schedule = rows.find(work.tx, name)
        rows.remove(work, name)
        _write_audit(work, "schedule removed", schedule.name, by)


def is_schedule_landing(core: Core, name: str) -> bool:
    """Whether the work that the schedule starts lands its change. NotFoundError for an unknown schedule."""
    with core.ports.ledger.transaction() as tx:
        return work_of(core, rows.find(tx, name)).lands


def _write_audit(work: Work, what: str, name: str, by: str) -> None:
    work.audit("schedule", "info", what, None, schedule=name, by=by)


def _list_refusals(core: Core, around: Surroundings, work: PlannedWork) -> list[str]:
    """Return refusals that gates would give now, as text. PancodeError for work that cannot be resolved."""
    judged = [] if work.request is None else [dry_run(core, around, work.request, later=True)]
    judged += [] if work.plan is None else work.plan.judge(core, around)
    refused = (first_refused(one.verdicts) for one in judged)
    return [f"this work would be refused now: {one.words}" for one in refused if one is not None]
