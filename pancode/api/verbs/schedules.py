"""Verbs of schedules: add, list, show, pause, resume, fire, remove."""

from __future__ import annotations

from pancode.control.core import Core
from pancode.control.faces import Surroundings
from pancode.control.schedule_shapes import HookShape, ScheduleShape
from pancode.notices.incoming import HookCall
from pancode.notices.webhook import SecretOf, called
from pancode.work.schedule import edit, schedules
from pancode.work.schedule.pushes import HeadOf
from pancode.work.schedule.request import AskedSchedule


class ScheduleVerbs:
    """NotFoundError for a name that no schedule has."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def add(self, around: Surroundings, wanted: AskedSchedule, head_of: HeadOf, dry: bool) -> ScheduleShape:
        """UsageError for what can never fire; `dry`: nothing is written."""
        schedule, warnings = edit.planned(self._core, around, wanted, head_of)
        if dry:
            return schedules.preview(self._core, schedule, warnings)
        edit.add(self._core, schedule)
        return schedules.show(self._core, schedule.name, warnings)

    def all(self) -> list[ScheduleShape]:
        """By name, each with its last firing."""
        return schedules.schedules(self._core)

    def show(self, name: str) -> ScheduleShape:
        """One with its last firings."""
        return schedules.show(self._core, name)

    def pause(self, name: str, reason: str, by: str) -> ScheduleShape:
        """Nothing fires until it is resumed."""
        edit.pause(self._core, name, reason, by)
        return self.show(name)

    def resume(self, name: str, by: str) -> ScheduleShape:
        """Fire again at the times to come. RefusedError where its token is in force no more."""
        edit.resume(self._core, name, by)
        return self.show(name)

    def fire(self, name: str, by: str) -> ScheduleShape:
        """Now. ConflictError while its last one runs."""
        edit.fire(self._core, name, by)
        return self.show(name)

    def called(self, name: str, call: HookCall, secret_of: SecretOf) -> HookShape:
        """By a signed webhook. AccessError for one that the holder of its secret has not made."""
        return called(self._core, name, call, secret_of)

    def lands(self, name: str) -> bool:
        """Whether what it begins lands its change."""
        return edit.lands(self._core, name)

    def remove(self, name: str, by: str) -> None:
        """What it has begun goes on."""
        edit.remove(self._core, name, by)
