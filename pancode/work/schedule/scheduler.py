"""The thread that fires schedules: woken by the feed, by the next time that is due, and every few seconds."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pancode.control.core import Core
from pancode.control.feed_thread import FeedThread
from pancode.control.work import unit_of_work
from pancode.core.ports import Transaction
from pancode.core.records import Firing, FiringState, Run, Schedule
from pancode.core.values import replace
from pancode.errors import UnavailableError
from pancode.work.schedule import rows
from pancode.work.schedule.decide import decide
from pancode.work.schedule.events import called_by
from pancode.work.schedule.starting import FiringStarter
from pancode.work.schedule.triggers import OnEvent, OnPush, trigger_of
from pancode.work.schedule.work import BY
from pancode.work.workflow.starting import Around

log = logging.getLogger("pancode.schedule")
LOOK_S = 15.0
"""A wait does not count the time in which the machine sleeps, nor a clock that is set: so it is short."""

Watched = tuple[str, str, str, int]
"""A schedule, its repository and branch, and when it was made: another one may have its name later."""


class Scheduler(FeedThread):
    """One thread; `round` is all that it does."""

    def __init__(self, core: Core, around: Around) -> None:
        super().__init__(core, "schedules", LOOK_S)
        self._starter = FiringStarter(core, around)
        self.heads: dict[Watched, str] = {}
        """By schedule on a push: the commit at which its branch was seen last. Written by `PushWatch`."""

    def _turn(self) -> float:
        return self.round()

    def round(self) -> float:
        """Decide about each schedule, begin what is to begin; seconds until the next look."""
        with self._core.ports.ledger.transaction() as tx:
            schedules = tx.find(Schedule)
        for schedule in schedules:
            if not self._stopping.is_set():
                self._look(schedule)
        return self._start(schedules)

    def _look(self, known: Schedule) -> None:
        """One transaction where something is due; else nothing is written."""
        core = self._core
        with core.ports.ledger.transaction() as tx:
            schedule = tx.get(Schedule, known.name)
            if schedule is None or not self._is_due(tx, schedule):
                return
        with unit_of_work(core) as work:
            schedule = work.tx.get(Schedule, known.name)
            if schedule is not None:
                schedule, called = self._called(work.tx, schedule)
                rows.write(work, decide(rows.load(core, work.tx, schedule, called)))

    def _is_due(self, tx: Transaction, schedule: Schedule) -> bool:
        now = self._core.wall_ms()
        if schedule.paused is None and (schedule.next_ms or now + 1) <= now or now < schedule.seen_ms:
            return True
        if self._called(tx, schedule) != (schedule, []):
            return True
        waiting = tx.find(Firing, {"state": FiringState.WAITING})
        return any(one.schedule == schedule.name for one in waiting)

    def _called(self, tx: Transaction, schedule: Schedule) -> tuple[Schedule, list[Firing]]:
        """What calls it beside the clock: events, or a push."""
        trigger = trigger_of(schedule.trigger)
        if isinstance(trigger, OnEvent):
            return called_by(self._core, tx, schedule, trigger)
        head = self.heads.get(watched(schedule, trigger)) if isinstance(trigger, OnPush) else None
        if head is None or head == schedule.mark:
            return schedule, []
        firing = Firing(schedule.name, head, self._core.wall_ms(), cause={"commit": head})
        if _landed(tx, schedule, head):
            why = "its own run has landed that commit"
            firing = replace(firing, state=FiringState.SKIPPED, reason=why, done_ms=firing.at_ms)
        return replace(schedule, mark=head), [firing]

    def _start(self, schedules: list[Schedule]) -> float:
        """Begin what has its id; seconds until the next look."""
        with self._core.ports.ledger.transaction() as tx:
            by_name: Mapping[str, Schedule] = {one.name: one for one in tx.find(Schedule)}
            starting = tx.find(Firing, {"state": FiringState.STARTING})
        for firing in sorted(starting, key=lambda one: one.at_ms):
            if self._stopping.is_set() or firing.schedule not in by_name:
                continue
            try:
                self._starter.start(by_name[firing.schedule], firing)
            except UnavailableError as error:
                log.warning("schedule %s waits: %s: %s", firing.schedule, error, error.why)
        now = self._core.wall_ms()
        times = [one.next_ms for one in by_name.values() if one.next_ms is not None and one.paused is None]
        return min([LOOK_S, *(max(0, ms - now) / 1000 for ms in times)])


def watched(schedule: Schedule, trigger: OnPush) -> Watched:
    return schedule.name, trigger.repo, trigger.branch, schedule.created_ms


def _landed(tx: Transaction, schedule: Schedule, commit: str) -> bool:
    """A schedule that lands into the branch that it watches would call itself for ever."""
    known = rows.newest(tx, schedule.name, 50)
    runs = (tx.get(Run, one.run) for one in known if one.run is not None)
    return any(run is not None and run.landed == commit and run.created_by.startswith(BY) for run in runs)
