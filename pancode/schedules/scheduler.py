"""The thread that fires schedules; it wakes on feed events, at due times, and every few seconds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pancode.kernel.errors import PancodeError, UnavailableError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import FeedEvent, Run
from pancode.kernel.values import replace
from pancode.kernel.visitors import find_limits
from pancode.runs import occasions
from pancode.runs.core import Core
from pancode.runs.dispatch import dispatch_run
from pancode.runs.facts import Lineage
from pancode.runs.feed_thread import FeedThread
from pancode.runs.occasions import facts_of, is_matching, occasion_of
from pancode.runs.restored.hold import list_held
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import Around
from pancode.runs.whole_changes import find_larger
from pancode.schedules import store as rows
from pancode.schedules.model import OnEvent, trigger_of
from pancode.schedules.records import Firing, FiringState, Schedule
from pancode.schedules.rules import Decided, decide, held_name, too_deep
from pancode.schedules.service import pause_former
from pancode.schedules.work import PlannedWork, is_confined, work_of

BEHIND = 500
"""After this many events the place in the feed is recorded even if none of them matched."""
_BEFORE = 20
"""How many runs are followed back at most to find the firing that caused an event."""


def _is_wanted(core: Core, tx: Transaction, event: FeedEvent, trigger: OnEvent) -> bool:
    return occasion_of(event) == trigger.occasion and is_matching(trigger.where, facts_of(core, tx, event))


def _make_firing(core: Core, tx: Transaction, schedule: Schedule, event: FeedEvent) -> Firing:
    behind = _find_causes(core, tx, event)
    depth = max((one.depth + 1 for one in behind), default=1)
    made = Firing(
        schedule.name,
        f"event:{event.number}",
        event.at_ms,
        cause={"event": event.number, "kind": event.kind.value, "run": event.run},
        depth=depth,
    )
    # The event of a refused firing itself contains the schedule's name.
    own = event.data.get("schedule")
    why = too_deep(schedule.name, depth, {one.schedule for one in behind} | ({str(own)} if own else set()))
    if why is None:
        return made
    return replace(made, state=FiringState.SKIPPED, reason=why, done_ms=event.at_ms)


def _find_causes(core: Core, tx: Transaction, event: FeedEvent) -> list[Firing]:
    """Return the firings that caused an event: the one that the event names, and those that started its run
    or workflow, or the earlier ones from which these continue."""
    found: list[Firing] = []
    schedule, key = event.data.get("schedule"), event.data.get("key")
    if schedule and key:  # The event contains all facts; the firing's row may have been deleted since.
        depth = int(str(event.data.get("depth") or 0))
        found.append(Firing(str(schedule), str(key), event.at_ms, depth=depth))
    workflow: str | None = str(event.data.get("workflow") or "")
    for _ in range(_BEFORE):
        row = find_larger(core, tx, workflow)
        if row is None:
            break
        found += tx.find(Firing, {"workflow": row.id})
        workflow = row.retry_of
    return found + ([] if event.run is None else _find_origins(tx, event.run))


def _find_origins(tx: Transaction, name: str) -> list[Firing]:
    """Return the firings that started this run; if none did, those that started its nearest predecessors."""
    found: list[Firing] = []
    names, seen = [name], {name}
    while names and len(seen) <= _BEFORE:
        run = tx.get(Run, names.pop(0))
        if run is None:
            continue
        begun = tx.find(Firing, {"run": run.id})
        begun += tx.find(Firing, {"workflow": run.workflow}) if run.workflow is not None else []
        found += begun
        before = [] if begun else [one for one in _list_earlier(run) if one not in seen]
        names += before
        seen.update(before)
    return found


def _list_earlier(run: Run) -> list[str]:
    """Return the ids of the runs that led directly to this run, such as its parent."""
    lineage = Lineage.of(run)
    known = (run.parent, run.judges, lineage.continues, run.retry_of, lineage.resolves.get("run"))
    return [str(one) for one in known if one]


LIFTED = "if its commands must run outside: pancode schedule rm NAME, then add it again on the machine"


def load_work(core: Core, schedule: Schedule) -> PlannedWork:
    """Return the schedule's work. If an earlier version stored a token's, store its limits and say so."""
    wanted, name = work_of(core, schedule), schedule.name
    if not find_limits(schedule.created_by) or is_confined(core, schedule):
        return wanted
    with unit_of_work(core) as work:
        work.tx.put(replace(rows.find(work.tx, name), work=wanted.row()))
        what, why = "its commands stay in the sandbox", f"{schedule.created_by} created it"
        work.audit("schedule", "warning", what, None, schedule=name, why=why, fix=LIFTED)
    return wanted


class FiringStarter:
    """Starts the work of firings; one per coordinator. Gates and budgets apply when the firing starts."""

    def __init__(self, core: Core, around: Around) -> None:
        self._core, self._around = core, around

    def start(self, schedule: Schedule, firing: Firing) -> None:
        """Start the run or workflow, or record why not. UnavailableError if the caller must retry later."""
        try:
            if not self._is_there(firing):
                with self._core.ports.ledger.transaction() as tx:
                    rows.must_have_its_token(tx, schedule, self._core.wall_ms())
                wanted = load_work(self._core, schedule)
                if firing.cause.get("run"):  # only an id, so that no outsider's text enters the task
                    wanted = wanted.about(str(firing.cause["run"]))
                caller: dict[str, Any] = dict(wanted.caller)
                around = self._around(caller.get("settings") or {}, caller.get("preset"))
                if wanted.plan is not None:
                    wanted.plan.begin(self._core, around, firing.workflow)
                elif wanted.request is not None:
                    dispatch_run(self._core, around, wanted.request, None, firing.run)
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
                return find_larger(self._core, tx, firing.workflow) is not None
            return firing.run is not None and tx.get(Run, firing.run) is not None

    def _end(self, firing: Firing, state: FiringState, reason: str = "", fix: str = "") -> None:
        """End the firing; if its work did not start, remove the reserved id of the run or workflow."""
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
            rows.end_firing(work, over)


log = logging.getLogger("pancode.schedule")
LOOK_S = 15.0
"""The longest wait in seconds. It is short, because a wait does not notice that the computer slept or its
clock was set."""


class Scheduler(FeedThread):
    """The thread that checks all schedules, with `run_pass`."""

    def __init__(self, core: Core, around: Around) -> None:
        super().__init__(core, "schedules", LOOK_S, occasions.KINDS, only_with=(Schedule, {}))
        self._starter = FiringStarter(core, around)

    def run_pass(self) -> float:
        """Decide on each schedule and start due work; return the seconds until the next pass."""
        with self._core.ports.ledger.transaction() as tx:
            held, known = list_held(tx), tx.find(Schedule)
        schedules = [one for one in known if held_name(one.name) not in held]
        for schedule in known:
            if not self._stopping.is_set():
                pause_former(self._core, schedule)
                self._look(schedule, schedule not in schedules)
        return self._start(schedules)

    def _look(self, known: Schedule, is_held: bool) -> None:
        """Decide on one schedule in one transaction if something is due; otherwise write nothing. A held one
        passes over events."""
        core = self._core
        with core.ports.ledger.transaction() as tx:
            schedule = tx.get(Schedule, known.name)
            if schedule is None or not self._is_due(tx, schedule):
                return
        with unit_of_work(core) as work:
            schedule = work.tx.get(Schedule, known.name)
            if schedule is not None and is_held:
                rows.write_changes(work, Decided(self._list_called(work.tx, schedule)[0]))
            elif schedule is not None:
                schedule, called = self._list_called(work.tx, schedule)
                rows.write_changes(work, decide(rows.load_view(core, work.tx, schedule, called)))

    def _is_due(self, tx: Transaction, schedule: Schedule) -> bool:
        now = self._core.wall_ms()
        if schedule.paused is None and (schedule.next_ms or now + 1) <= now or now < schedule.seen_ms:
            return True
        if self._list_called(tx, schedule) != (schedule, []):
            return True
        waiting = tx.find(Firing, {"state": FiringState.WAITING})
        return any(one.schedule == schedule.name for one in waiting)

    def _list_called(self, tx: Transaction, schedule: Schedule) -> tuple[Schedule, list[Firing]]:
        """Return the schedule with its new feed position, and the firings that events cause."""
        trigger = trigger_of(schedule.trigger)
        if isinstance(trigger, OnEvent):
            since = self._core.feed.since(int(schedule.mark or 0))
            if since is None:  # More events happened than the feed can hold.
                return replace(schedule, mark=str(self._core.feed.last)), []
            found = [
                _make_firing(self._core, tx, schedule, event)
                for event in since
                if _is_wanted(self._core, tx, event, trigger)
            ]
            if found or len(since) > BEHIND:
                schedule = replace(schedule, mark=str(since[-1].number))
            return schedule, found
        return schedule, []

    def _start(self, schedules: list[Schedule]) -> float:
        """Start the work of firings that have an id; return the seconds until the next pass."""
        with self._core.ports.ledger.transaction() as tx:
            known = {one.name for one in schedules}
            by_name: Mapping[str, Schedule] = {
                one.name: one for one in tx.find(Schedule) if one.name in known
            }
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
