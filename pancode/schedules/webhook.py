"""Accepts a signed webhook: stores its firing once, even if it is sent again, and so wakes the scheduler."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import TypedDict

from pancode.kernel.errors import NotFoundError
from pancode.kernel.signature_check import MOST_A_MINUTE, ProvenCall, too_many
from pancode.kernel.values import replace
from pancode.runs.core import Core
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.schedules import store as rows
from pancode.schedules.model import OnWebhook, secret_name, trigger_of
from pancode.schedules.records import Firing, FiringState, Schedule
from pancode.schedules.rules import Decided, decide


class HookShape(TypedDict):
    """The result of a signed webhook. `why`: the reason why no work starts; empty if work starts."""

    schedule: str
    taken: bool
    why: str


A_MINUTE = 60_000
PING = "a ping does not start work"
AGAIN = "this webhook was already received"
SecretOf = Callable[[str], str]
"""Returns a stored secret by its name. Raises NotFoundError."""


def accept_call(core: Core, name: str, sure: ProvenCall) -> HookShape:
    """Return the result of a call with a valid signature. AccessError if calls come too often."""
    if sure.is_ping:
        return {"schedule": name, "taken": False, "why": PING}
    with unit_of_work(core) as work:
        return _fire_schedule(work, rows.find(work.tx, name), sure)


def secret_for(core: Core, name: str, secret_of: SecretOf) -> str | None:
    """Return the secret that signs this schedule's calls, or None if the schedule has none."""
    with core.ports.ledger.transaction() as tx:
        schedule = tx.get(Schedule, name)
    if schedule is None or not isinstance(trigger_of(schedule.trigger), OnWebhook):
        return None
    try:
        return secret_of(secret_name(name))
    except NotFoundError:
        return None


def _fire_schedule(work: Work, schedule: Schedule, sure: ProvenCall) -> HookShape:
    name, now = schedule.name, work.core.wall_ms()
    if work.tx.get(Firing, name, sure.key) is not None:
        return {"schedule": name, "taken": False, "why": AGAIN}
    if (
        sum(now - one.at_ms < A_MINUTE for one in rows.list_newest(work.tx, name, MOST_A_MINUTE))
        >= MOST_A_MINUTE
    ):
        raise too_many()
    firing = Firing(name, sure.key, now, cause={"kind": "webhook", "webhook": sure.id})
    work.audit("schedule", "info", "called by a webhook", None, schedule=name, webhook=sure.id)
    # The firing is written anyway, so that a repeated webhook does not fire later.
    if schedule.paused is not None:
        left = replace(firing, state=FiringState.SKIPPED, reason=schedule.paused, done_ms=now)
        rows.write_changes(work, Decided(schedule, (left,)))
        return {"schedule": name, "taken": False, "why": schedule.paused}
    rows.write_changes(work, decide(rows.load_view(work.core, work.tx, schedule, (firing,))))
    return {"schedule": name, "taken": True, "why": ""}
