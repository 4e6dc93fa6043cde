"""Finds the events of the feed on which a schedule fires, and keeps it from firing on its own for ever."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.control.core import Core
from pancode.core.ports import Transaction
from pancode.core.records import FeedEvent, Firing, FiringState, Run, Schedule, Workflow
from pancode.core.values import replace
from pancode.life.changes import occasion_of
from pancode.work.schedule.decide import too_deep
from pancode.work.schedule.happenings import facts_of, fits
from pancode.work.schedule.triggers import OnEvent

BEHIND = 500
"""After this many events without a fitting one, the place in the feed is recorded all the same."""
_BEFORE = 20
"""How many runs are followed back to find the firing behind an event."""


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
    """The firing that the event tells of, or that began its run or workflow, or what these go on from."""
    found: list[Firing] = []
    schedule, key = event.data.get("schedule"), event.data.get("key")
    if schedule and key:  # told by the event itself: the row may have been forgotten meanwhile
        depth = int(str(event.data.get("depth") or 0))
        found.append(Firing(str(schedule), str(key), event.at_ms, depth=depth))
    workflow: str | None = str(event.data.get("workflow") or "")
    for _ in range(_BEFORE):
        row = tx.get(Workflow, workflow) if workflow else None
        if row is None:
            break
        found += tx.find(Firing, {"workflow": row.id})
        workflow = row.retry_of
    return found + ([] if event.run is None else _began(tx, event.run))


def _began(tx: Transaction, name: str) -> list[Firing]:
    """The firings that began this run, or the nearest runs that it comes from."""
    found: list[Firing] = []
    names, seen = [name], {name}
    while names and len(seen) <= _BEFORE:
        run = tx.get(Run, names.pop(0))
        if run is None:
            continue
        begun = tx.find(Firing, {"run": run.id})
        begun += tx.find(Firing, {"workflow": run.workflow}) if run.workflow is not None else []
        found += begun
        before = [] if begun else [one for one in _before(run) if one not in seen]
        names += before
        seen.update(before)
    return found


def _before(run: Run) -> list[str]:
    """Runs without which it would not be there."""
    resolves = run.terms.get("resolves") or {}
    known = (run.parent, run.judges, run.terms.get("continues"), run.retry_of, resolves.get("run"))
    return [str(one) for one in known if one]
