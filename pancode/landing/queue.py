"""Queue of each repository's landings: requests, orders, lists, executes them; lists changes to review."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pancode.kernel.declared import from_json
from pancode.kernel.errors import PancodeError, UnavailableError, WorkspaceError
from pancode.kernel.records import Action, ActionKind, EndedRun, Run
from pancode.kernel.visitors import must_ask
from pancode.landing.answers import LandingRow
from pancode.landing.rules import (
    CALLED_OFF,
    FAILED,
    HELD,
    WRITES,
    CalledOff,
    Dropped,
    Landed,
    LandingAsked,
    LandingOver,
    LandingProposed,
    LandingWrites,
    TakenBack,
    by_hand,
    must_have_gates,
)
from pancode.runs.answers import RunShape
from pancode.runs.begun_later import must_still_speak
from pancode.runs.core import Core
from pancode.runs.facts import Lineage
from pancode.runs.feed_thread import JOIN_S, FeedThread
from pancode.runs.life.changes import Signal
from pancode.runs.receipts.trust import LANDED, NOTHING, WAITING, find_missing_verdict, is_green
from pancode.runs.request import LandWay
from pancode.runs.restored.hold import list_held
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.views import format_optional_iso, load_run, run_shape
from pancode.runs.whole_changes import change_of, is_the_result

_NOTED = ("status", "files", "gate", "commit", "made")


class LandingWish:
    """A requested landing. A call of this object returns whether the landing still waits."""

    def __init__(self, core: Core, action: Action) -> None:
        self._core, self._asked = core, action

    def __call__(self) -> bool:
        return is_still_waiting(self._core, self._asked)

    def writes(self, report: Mapping[str, Any]) -> None:
        """Record the landing's result in advance, in case the coordinator dies after the write. Idempotent.

        Raises UnavailableError if the record cannot be stored; then nothing may be written. After such a
        death, the next try finds no change in the tree, and knows by this record that it was landed.
        """
        noted = {name: report[name] for name in _NOTED}
        _signal_run(self._core, self._asked.run, LandingWrites(noted, self._asked.id))


Land = Callable[[Run, LandWay, LandingWish], dict[str, Any]]
"""Lands a run, gates included. It calls the LandingWish as late as possible, and `writes` before it changes
anything. Raises PancodeError with its code if the run cannot be landed."""


def queue_landing(core: Core, run_id: str, way: LandWay) -> Action:
    """Queue a run's landing for a user. Raises WorkspaceError before the run's end, AccessError if the user's
    token may not land, and UsageError if the change does not have a gate to leave out."""
    must_ask(f"the landing of {run_id}", lands=not way.approves, says_yes=way.says_yes)
    if way.without_gates:
        with core.ports.ledger.transaction() as tx:
            named = tx.get(Run, run_id)
        must_have_gates(run_id, change_of(core, named) if named is not None else (), way.without_gates)
    with unit_of_work(core) as work:
        work.signal(load_run(work.tx, run_id), LandingAsked(way))
        mine = work.tx.find(Action, {"run": run_id})
    return next(action for action in mine if action.kind is ActionKind.LAND)


def drop_change(core: Core, run_id: str, by: str) -> None:
    """Drop a run's unwanted change. Idempotent. Raises WorkspaceError before the run's end."""
    _signal_run(core, run_id, Dropped(by))


def dismiss_run(core: Core, run_id: str, by: str, back: bool) -> None:
    """Drop a run's change, or take that back. Idempotent."""
    _signal_run(core, run_id, TakenBack(by) if back else Dropped(by))


def propose_landing(core: Core, run_id: str, by: str) -> None:
    """Request a user's approval to land a run's change, for an orchestrator. Idempotent. WorkspaceError."""
    _signal_run(core, run_id, LandingProposed(by))


def list_waiting(core: Core) -> list[Action]:
    """Return all requested landings that are not finished, in order."""
    with core.ports.ledger.transaction() as tx:
        found = [action for action in tx.find(Action) if action.kind is ActionKind.LAND]
    return sorted(found, key=lambda action: (action.at_ms, action.id))


def _list_due(core: Core) -> list[Action]:
    """Return the waiting landings without those that are held since a restore."""
    with core.ports.ledger.transaction() as tx:
        held = list_held(tx)
    return [action for action in list_waiting(core) if action.run not in held]


def repo_of(action: Action) -> str:
    """Return the name of the queue in which the landing waits."""
    return str(action.detail.get("repo", ""))


def way_of(run: Run, action: Action) -> LandWay:
    """Return how to land: as a user requested, as for the run whose conflict was resolved, or as for a
    dispatch. A resolution is newer than approvals of the conflicting change: these do not apply to it."""
    if by_hand(action):
        return from_json(LandWay, action.detail)
    if resolves := Lineage.of(run).resolves:
        return from_json(LandWay, resolves["way"]).without_yes()
    return LandWay(by=f"{run.created_by} (dispatch --land)")


def call_off(core: Core, run_id: str, why: str) -> bool:
    """Call off the run's landing; return False if none was waiting."""
    return _signal_run(core, run_id, CalledOff(why))


def is_still_waiting(core: Core, action: Action) -> bool:
    """Whether the landing still waits; if it answers an inbox item, also whether that item still waits."""
    with core.ports.ledger.transaction() as tx:
        mine = tx.find(Action, {"run": action.run})
    waits = any(one.id == action.id for one in mine)
    return waits and (not action.detail.get("approves") or any(one.kind is ActionKind.USER for one in mine))


def carry_out(core: Core, action: Action, land: Land, stopping: Callable[[], bool]) -> None:
    """Land one run and record how it ended. If the coordinator stops, an interrupted landing stays queued.

    Raises UnavailableError if nothing can be recorded now: the landing stays queued, but the tree may already
    have the change.
    """
    with core.ports.ledger.transaction() as tx:
        run, there = tx.get(Run, action.run), tx.get(Action, action.id)
    if run is None or there is None or stopping():
        return
    if run.landed is not None and not by_hand(action):  # a user has landed the change meanwhile
        _end_landing(core, action, {"status": LANDED, "commit": run.landed})
        return
    way = way_of(run, action)
    try:
        with core.ports.ledger.transaction() as tx:
            made_ms = action.at_ms if by_hand(action) else run.created_ms
            must_still_speak(tx, action.by, made_ms, f"the landing of {run.id}", f"pancode land {run.id}")
        report = land(run, way, LandingWish(core, action))
    except UnavailableError:
        raise
    except PancodeError as error:
        result = {"status": error.code.replace("_", " "), "error": str(error), "fix": error.fix}
        detail = {"why": f"{error}: {error.why}", "yes": error.details.get("yes", "").split()}
        report = {**result, **detail, "held": int(error.details.get("held", "0"))}
    if report["status"] == CALLED_OFF and stopping():
        return
    noted = there.detail.get(WRITES)
    # an earlier try has already written the change
    if report["status"] == NOTHING and isinstance(noted, dict):
        report = {**report, **noted, "why": ""}
    if report["status"] != LANDED:
        _end_landing(core, action, report)
        return
    with unit_of_work(core) as work:
        now = load_run(work.tx, run.id)
        work.signal(now, make_landed(report, way), _end_of(action, report))
        _with_it(work, run, report, way)


def hold_back(core: Core, action: Action, why_held: Callable[[], str]) -> bool:
    """Leave a landing that no user requested to a user; return whether it is held. `why_held`: returns why no
    change lands by itself; empty: only those do not that an older version was to have verified elsewhere."""
    with core.ports.ledger.transaction() as tx:
        run = tx.get(Run, action.run)
    if run is None or run.landed is not None or by_hand(action) or Lineage.of(run).resolves:
        return False
    why = why_held() or find_missing_verdict(run)
    if why:
        _end_landing(core, action, {"status": HELD, "why": why, "fix": f"pancode approve {run.id}"})
    return bool(why)


def _with_it(work: Work, by: Run, report: Mapping[str, Any], way: LandWay) -> None:
    """If this run resolved another run's conflict, record that the other run's change has landed, too."""
    resolves = Lineage.of(by).resolves
    old = work.tx.get(Run, str(resolves["run"])) if resolves else None
    if old is not None and old.landed is None:
        updated = {**report, "gate": {"detail": f"resolved and judged in {by.id}"}}
        work.signal(old, make_landed(updated, way), LandingOver(updated, by=way.by))


def make_landed(report: Mapping[str, Any], way: LandWay) -> Landed:
    """Return a landing's record for `runs show` and `why`: who requested it and what that user approved."""
    flags = tuple(name for name in ("with_commands", "with_secret", "anyway") if getattr(way, name))
    flags += tuple(f"without_gate {text}" for text in way.without_gates)
    gates, files = str((report.get("gate") or {}).get("detail", "")), len(report["files"])
    return Landed(way.by, str(report["commit"]), files, gates, way.branch, flags)


def give_up(core: Core, action: Action, error: Exception) -> None:
    """Record that a landing failed with an unexpected error, so that it is not retried automatically."""
    look = f"see the coordinator's log and: pancode diff {action.run}"
    why = f"{type(error).__name__}: {error}"
    report = {"status": FAILED, "why": why, "fix": f"{look}; then: pancode land {action.run}"}
    _end_landing(core, action, report)


def _end_landing(core: Core, action: Action, report: dict[str, Any]) -> None:
    _signal_run(core, action.run, _end_of(action, report))


def _end_of(action: Action, report: Mapping[str, Any]) -> LandingOver:
    return LandingOver(report, action.id, action.by if by_hand(action) else "")


def _signal_run(core: Core, run_id: str, *signals: Signal) -> bool:
    """Apply the signals to the run; return whether they changed it."""
    with unit_of_work(core) as work:
        run = work.tx.get(Run, run_id)
        return run is not None and work.signal(run, *signals) != run


log = logging.getLogger("pancode.landing")
AGAIN_S = 15.0
"""Seconds until a landing that could not be carried out or recorded is tried again."""
LOOK_S = 0.5


class LandingQueue(FeedThread):
    """One thread per repository with landings; feed events wake the thread that starts these. `cut_short`:
    interrupts a run's landing; returns when the landing no longer writes anything. `why_held`:
    returns why no change lands by itself; empty: changes do."""

    def __init__(
        self,
        core: Core,
        land: Land,
        cut_short: Callable[[str], object],
        why_held: Callable[[], str],
        again_s: float = AGAIN_S,
    ) -> None:
        super().__init__(core, "landings", again_s, kinds=frozenset(), actions=(ActionKind.LAND,))
        self._land, self._cut_short, self._why_held = land, cut_short, why_held
        self._lock, self._over = threading.Lock(), threading.Condition()
        self._lanes: dict[str, threading.Thread] = {}
        self._now: dict[str, Action] = {}

    def stop(self) -> None:
        self._end()
        for action in list(self._now.values()):
            self._cut_short(action.run)
        self._join()
        for lane in list(self._lanes.values()):
            if lane.is_alive():
                lane.join(JOIN_S)

    def place(self, action: Action) -> int:
        """Return how many landings of the same repository are before this landing; 0: it is next."""
        mine = [one.id for one in list_waiting(self._core) if repo_of(one) == repo_of(action)]
        return mine.index(action.id) if action.id in mine else 0

    def under_way(self) -> list[str]:
        """Return the landings that are in progress, by the ids of their actions."""
        return [action.id for action in list(self._now.values())]

    def ended(self, action: Action) -> dict[str, Any]:
        """Wait until a landing ends; return how it ended, or `waiting` if the coordinator stops first."""
        # hold the lock also for the look-up: the landing's end may be notified between look-up and wait
        with self._over:
            while not self._stopping.is_set():
                with self._core.ports.ledger.transaction() as tx:
                    waits, run = tx.get(Action, action.id), tx.get(Run, action.run)
                if waits is None and run is not None:
                    return dict(run.landing)
                self._over.wait(LOOK_S)
        return {
            "status": "waiting",
            "why": "the coordinator is stopping; the change is landed after its restart",
        }

    def ask(self, run: Run, way: LandWay) -> Action:
        """Queue the run's landing in its repository."""
        return queue_landing(self._core, run.id, way)

    # -- the threads -----------------------------------------------------------------------------

    def run_pass(self) -> float | None:
        for repo in {repo_of(action) for action in _list_due(self._core)}:
            with self._lock:
                if repo not in self._lanes and not self._stopping.is_set():
                    lane = threading.Thread(
                        target=self._run_lane, args=(repo,), name=f"landings of {repo}", daemon=True
                    )
                    self._lanes[repo] = lane
                    lane.start()
        return None

    def _run_lane(self, repo: str) -> None:
        try:
            while not self._stopping.is_set():
                mine = [one for one in _list_due(self._core) if repo_of(one) == repo]
                if not mine:
                    return
                if not self._try_action(repo, mine[0]):
                    self._stopping.wait(self._again_s)
        except MemoryError:
            raise
        except Exception:
            log.exception("the landings of repository %s could not be read or marked as failed", repo)
            self._stopping.wait(self._again_s)
        finally:
            with self._lock:
                del self._lanes[repo]
            self._woken.set()  # a landing may have been queued since the last look

    def _try_action(self, repo: str, action: Action) -> bool:
        self._now[repo] = action
        try:
            if not hold_back(self._core, action, self._why_held):
                carry_out(self._core, action, self._land, self._stopping.is_set)
        except UnavailableError as error:
            log.warning("the landing of %s is delayed: %s: %s", action.run, error, error.why)
            return False
        except MemoryError:
            raise
        except Exception as error:
            log.exception("the landing of %s failed", action.run)
            give_up(self._core, action, error)
        finally:
            del self._now[repo]
            with self._over:
                self._over.notify_all()
        return True


NEWEST = 500
"""How many ended runs of a repository are searched for changes; the newest ones that wait for a user."""
FINE = (LANDED, NOTHING, CALLED_OFF, WAITING)


def landing_rows(core: Core, under_way: Collection[str]) -> list[LandingRow]:
    """Return each unfinished landing in order; `place`: how many of its repository are before it."""
    rows, before = list[LandingRow](), Counter[str]()
    for action in list_waiting(core):
        with core.ports.ledger.transaction() as tx:
            run = tx.get(Run, action.run)
        if run is None:
            continue
        way, repo = way_of(run, action), repo_of(action)
        rows.append(
            {
                "run": run.id,
                "project": run.project,
                "place": before[repo],
                "by": way.by,
                "branch": way.branch or None,
                "how": way.how.value if way.branch else None,
                "since": format_optional_iso(action.at_ms),
                "under_way": action.id in under_way,
            }
        )
        before[repo] += 1
    return rows


def list_before(core: Core, run: Run, under_way: Collection[str]) -> list[LandingRow]:
    """Return the repository's landings before this run's, or before the place it would get if queued now."""
    rows = [row for row in landing_rows(core, under_way) if row["project"] == run.project]
    mine = next((number for number, row in enumerate(rows) if row["run"] == run.id), len(rows))
    return rows[:mine]


def list_landable(core: Core, project: str) -> list[RunShape]:
    """Return runs of this repository that are done, passed their gates, and have not landed; oldest first.

    Omitted: runs that another run continues, that lost a race, that are not the result of their workflow (its
    last step that changes files), whose change a user has denied, and that already wait to be landed.
    """
    queued, where = {action.run for action in list_waiting(core)}, {"repository": project, "left": True}
    with core.ports.ledger.transaction() as tx:
        rows = tx.find(EndedRun, where, order="ended_ms", descending=True, limit=NEWEST)
        names = {row.run for row in rows if not row.landed} - queued
        runs = [run for name in names if (run := tx.get(Run, name)) is not None and is_green(run, project)]
        mine = [one for one in runs if is_the_result(core, tx, one)]
        return [run_shape(core, tx, run) for run in sorted(mine, key=lambda run: (run.created_ms, run.id))]


def report_of(ended: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a landing ended. Raises WorkspaceError if the landing was refused."""
    if ended["status"] not in FINE:
        status, why = str(ended["status"]), str(ended.get("why", ""))
        error = str(ended.get("error") or f"not landed: {status}")
        details = {"yes": " ".join(ended["yes"]), "held": str(ended["held"])} if ended.get("yes") else None
        raise WorkspaceError(
            error,
            why=why.removeprefix(f"{error}: "),
            fix=str(ended.get("fix", "")),
            code=status.replace(" ", "_"),
            details=details,
        )
    empty: dict[str, Any] = {"files": [], "conflicts": [], "gate": None, "recovered": None}
    return {**empty, "tree": "", "branch": None, **ended}
