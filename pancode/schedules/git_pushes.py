"""Checks heads of watched branches every half minute, in its own thread as a git server may be slow."""

from __future__ import annotations

from collections.abc import Callable

from pancode.kernel.errors import PancodeError
from pancode.kernel.records import Schedule
from pancode.kernel.threads import PeriodicThread
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work
from pancode.schedules import store as rows
from pancode.schedules.model import OnPush, trigger_of
from pancode.schedules.scheduler import Scheduler, make_watched

EVERY_S = 30.0
HeadOf = Callable[[str, str], str]
"""Returns the head commit of a repository's branch. Raises NotFoundError."""


class PushWatch(PeriodicThread):
    """A thread that reports heads of watched branches to the scheduler; an error delays no other branch."""

    def __init__(self, core: Core, scheduler: Scheduler, head_of: HeadOf, every_s: float = EVERY_S) -> None:
        super().__init__("pushes", every_s)
        self._core, self._scheduler, self._head_of = core, scheduler, head_of

    def look(self) -> None:
        """Read the head of each watched branch once."""
        with self._core.ports.ledger.transaction() as tx:
            schedules = tx.find(Schedule)
        for schedule in schedules:
            trigger = trigger_of(schedule.trigger)
            if isinstance(trigger, OnPush) and not self._stopping.is_set():
                trouble = ""
                try:
                    head = self._head_of(trigger.repo, trigger.branch)
                except PancodeError as error:
                    trouble = error.words
                else:
                    self._scheduler.heads[make_watched(schedule, trigger)] = head
                    if head != schedule.mark:
                        self._scheduler.wake()
                if trouble != schedule.trouble:
                    self._tell(schedule.name, trouble)

    def _tell(self, name: str, trouble: str) -> None:
        with unit_of_work(self._core) as work:
            known = rows.try_find(work, name)
            if known is not None:
                work.tx.put(replace(known, trouble=trouble))
                if trouble:
                    work.audit("schedule", "warning", "watched branch", None, schedule=name, words=trouble)
