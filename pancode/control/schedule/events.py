"""Finds the events of the feed on which a schedule fires, and keeps it from firing on its own for ever."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.control.core import Core
from pancode.control.schedule.happenings import facts_of, fits
from pancode.domain.life.occasions import occasion_of
from pancode.domain.records import FeedEvent, Firing, FiringState, Run, Schedule
from pancode.domain.schedule.decide import too_deep
from pancode.domain.schedule.triggers import OnEvent
from pancode.domain.schedule.work import schedule_behind
from pancode.domain.values import replace
from pancode.ports import Transaction

BEHIND = 500
"""After so many events without one that fits, the place in the feed is written down all the same."""
_PARENTS = 20


def called_by(
    core: Core, tx: Transaction, schedule: Schedule, trigger: OnEvent
) -> tuple[Schedule, list[Firing]]:
    """The firings for events since the schedule's mark; the schedule with its new mark, where that counts."""
    since = core.feed.since(int(schedule.mark or 0))
    if since is None:  # more happened than the feed keeps
        return replace(schedule, mark=str(core.feed.last)), []
    found = [_firing(tx, schedule, event) for event in since if _wanted(tx, event, trigger)]
    if found or len(since) > BEHIND:
        schedule = replace(schedule, mark=str(since[-1].number))
    return schedule, found


def _wanted(tx: Transaction, event: FeedEvent, trigger: OnEvent) -> bool:
    return occasion_of(event) == trigger.occasion and fits(trigger.where, facts_of(tx, event))


def _firing(tx: Transaction, schedule: Schedule, event: FeedEvent) -> Firing:
    behind = _behind(tx, event)
    depth = max((one.depth + 1 for one in behind), default=1)
    made = Firing(
        schedule.name,
        f"event:{event.number}",
        event.at_ms,
        cause={"event": event.number, "kind": event.kind.value, "run": event.run},
        depth=depth,
    )
    why = too_deep(schedule.name, depth, _names(event, behind))
    if why is None:
        return made
    return replace(made, state=FiringState.SKIPPED, reason=why, done_ms=event.at_ms)


def _names(event: FeedEvent, behind: Sequence[Firing]) -> set[str]:
    """The schedules behind it; that of a firing which was refused is named by the event itself."""
    own = event.data.get("schedule")
    return {one.schedule for one in behind} | ({str(own)} if own else set())


def _behind(tx: Transaction, event: FeedEvent) -> list[Firing]:
    """The firing that began the run or workflow of the event, or an ancestor of it."""
    found: list[Firing] = []
    workflow = event.data.get("workflow")
    if workflow:
        found += tx.find(Firing, {"workflow": str(workflow)})
    run = None if event.run is None else tx.get(Run, event.run)
    for _ in range(_PARENTS):
        if run is None:
            break
        if schedule_behind(run.created_by) is not None:
            by = {"workflow": run.workflow} if run.workflow is not None else {"run": run.id}
            found += tx.find(Firing, by)
            break
        run = tx.get(Run, run.parent) if run.parent is not None else None
    return found
