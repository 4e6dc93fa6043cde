"""What a schedule starts, as plain JSON in its row and as the request of each firing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pancode.kernel.values import replace
from pancode.kernel.visitors import OF, token_behind
from pancode.runs.begun_later import LaterWork
from pancode.runs.core import Core
from pancode.runs.features import features_of
from pancode.runs.request import DispatchRequest, dump_request, request_from
from pancode.schedules.records import Schedule

BY = "schedule:"
"""The prefix of a schedule's name in the field that records who dispatched a run."""
RUN_PLACE = "$RUN"
"""The placeholder in a task for the id of the event's run."""


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """A dispatch or larger work, with the caller's own settings and preset."""

    request: DispatchRequest | None = None
    plan: LaterWork | None = None
    caller: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        if self.plan is not None:
            return {"kind": self.plan.kind, "caller": dict(self.caller), "plan": self.plan.row()}
        assert self.request is not None
        return {"kind": "run", "caller": dict(self.caller), "request": dump_request(self.request)}

    @property
    def requests(self) -> tuple[DispatchRequest, ...]:
        """Return the requests for all runs of the work."""
        if self.plan is not None:
            return self.plan.requests
        return () if self.request is None else (self.request,)

    @property
    def lands(self) -> bool:
        """Whether the work lands its change."""
        return bool(self.caller.get("land")) or any(one.land for one in self.requests)

    def words(self) -> str:
        """Return the work as a table shows it: the task, or the workflow's name."""
        if self.plan is not None:
            return self.plan.words()
        assert self.request is not None
        return self.request.task if self.request.argv is None else " ".join(self.request.argv)

    def about(self, run: str) -> PlannedWork:
        """Return the work with this run for `$RUN`."""
        if self.plan is not None:
            return replace(self, plan=self.plan.about(RUN_PLACE, run))
        assert self.request is not None
        return replace(self, request=replace(self.request, task=self.request.task.replace(RUN_PLACE, run)))


def work_of(core: Core, schedule: Schedule) -> PlannedWork:
    """Return the schedule's work, recorded as dispatched by it, and by the token that created it; work
    without limits gets those of the token."""
    by = f"{BY}{schedule.name}"
    if token_behind(schedule.created_by) is not None:
        by += f"{OF}{schedule.created_by}"
    return _read_work(core, schedule.work, by)


def _read_work(core: Core, row: Mapping[str, Any], by: str) -> PlannedWork:
    kind, caller = row["kind"], row["caller"]
    if kind == "run":
        return PlannedWork(request=request_from(row["request"], by), caller=caller)
    (read,) = (hook.act for hook in features_of(core).planned if hook.concerns(kind))
    return PlannedWork(plan=read(row["plan"], by, caller), caller=caller)


def is_confined(core: Core, schedule: Schedule) -> bool:
    """Whether the stored work limits its runs; an earlier version stored no limits."""
    return any(one.confined for one in _read_work(core, schedule.work, "").requests)
