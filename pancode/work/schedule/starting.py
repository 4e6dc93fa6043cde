"""Begins the work of a firing under its id: after a kill again, and never twice."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.records import Firing, FiringState, Run, Schedule, Workflow
from pancode.core.values import replace
from pancode.dispatch.dispatch import dispatch
from pancode.errors import PancodeError, UnavailableError
from pancode.work.schedule import rows
from pancode.work.schedule.work import COMMIT_PLACE, RUN_PLACE, work_of
from pancode.work.workflow.begin import begin
from pancode.work.workflow.starting import Around

log = logging.getLogger("pancode.schedule")


class FiringStarter:
    """One per coordinator. Gates and budget judge now, not when the schedule was made."""

    def __init__(self, core: Core, around: Around) -> None:
        self._core, self._around = core, around

    def start(self, schedule: Schedule, firing: Firing) -> None:
        """The run or the workflow, or the reason why there is none. UnavailableError: not now."""
        try:
            if not self._is_there(firing):
                with self._core.ports.ledger.transaction() as tx:
                    rows.must_have_its_token(tx, schedule, self._core.wall_ms())
                self._begin(schedule, firing)
            self._end(firing, FiringState.BEGUN)
        except UnavailableError:
            raise
        except PancodeError as error:
            why = error.words
            self._end(firing, FiringState.REFUSED, why, error.fix)
        except Exception as error:
            log.exception("schedule %s could not fire", schedule.name)
            self._end(firing, FiringState.FAILED, f"{type(error).__name__}: {error}", "pancode doctor")

    def _is_there(self, firing: Firing) -> bool:
        with self._core.ports.ledger.transaction() as tx:
            if firing.workflow is not None:
                return tx.get(Workflow, firing.workflow) is not None
            return firing.run is not None and tx.get(Run, firing.run) is not None

    def _begin(self, schedule: Schedule, firing: Firing) -> None:
        wanted = work_of(schedule.work, schedule.name).about(_places(firing.cause))
        caller: dict[str, Any] = dict(wanted.caller)
        around = self._around(caller.get("settings") or {}, caller.get("preset"))
        if wanted.plan is not None:
            begin(self._core, around, replace(wanted.plan, id=firing.workflow))
        elif wanted.request is not None:
            dispatch(self._core, around, wanted.request, None, firing.run)

    def _end(self, firing: Firing, state: FiringState, reason: str = "", fix: str = "") -> None:
        """What did not begin names no run: its id was never taken."""
        begun = state is FiringState.BEGUN
        over = replace(
            firing,
            state=state,
            reason=firing.reason if begun else reason,
            fix=fix,
            run=firing.run if begun else None,
            workflow=firing.workflow if begun else None,
            done_ms=self._core.wall_ms(),
        )
        with unit_of_work(self._core) as work:
            rows.end(work, over)


def _places(cause: Mapping[str, object]) -> dict[str, str]:
    """What the places of a task stand for; ids and commits, so that no word of a stranger gets in."""
    found = {RUN_PLACE: cause.get("run"), COMMIT_PLACE: cause.get("commit")}
    return {place: str(value) for place, value in found.items() if value}
