"""Prunes the files of old runs on this disk: on a user's request, and automatically once a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pancode.kernel.ports import Transaction
from pancode.kernel.records import Run, RunState, Setting
from pancode.kernel.threads import PeriodicThread
from pancode.runs.core import Core
from pancode.runs.features import features_of
from pancode.runs.retention.parts import LetGo, RunFiles
from pancode.runs.retention.rules import (
    DAY_MS,
    FilesNeed,
    LogsOfRun,
    may_go_at_ms,
    select_excess,
    select_prunable,
)
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import session_of

DONE = "retention"
"""The name of the setting that records when retention last ran automatically."""
LOOK_S = 600.0
BY = "the coordinator"


class FilesOfRuns(Protocol):
    """The files of runs on this disk."""

    def commits(self) -> Mapping[str, frozenset[str]]:
        """Return the ids of the runs that have refs, by repository of the depot."""

    def logged(self) -> Mapping[str, int]:
        """Return the size of each run's logs in bytes, by run id."""

    def forget_commits(self, repository: str, runs: Iterable[str]) -> None:
        """Delete the refs to these runs' commits. Idempotent."""

    def forget_logs(self, run: str) -> None:
        """Remove the run's logs. Idempotent."""

    def pack(self, repository: str, now: bool) -> None:
        """Free space: delete unreferenced objects older than two weeks; without `now`, only if it is due."""

    def sizes(self) -> dict[str, int]:
        """Return the bytes used on this disk, by purpose."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Files to prune by run (`going`), number of runs kept by reason (`kept`) and too recent (`young`)."""

    going: Mapping[str, frozenset[RunFiles]]
    kept: Mapping[FilesNeed, int]
    young: int
    commits: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The ids of all runs that have refs, by repository."""

    def count(self, what: RunFiles) -> int:
        return sum(what in found for found in self.going.values())


def plan_retention(core: Core, files: FilesOfRuns) -> Retention:
    """Plan what can be pruned, without changing anything. Files of runs that are not in the ledger are kept,
    because the ledger may be an older copy."""
    commits, logged, rules, now_ms = files.commits(), files.logged(), core.rules.keep, core.wall_ms()
    going, needs, logs = dict[str, frozenset[RunFiles]](), dict[str, FilesNeed | None](), list[LogsOfRun]()
    for name in sorted({*logged}.union(*commits.values())):
        with core.ports.ledger.transaction() as tx:
            run = tx.get(Run, name)
            if run is None:
                continue
            need = needs[name] = _need_of(core, tx, run)
        has = {RunFiles.LOGS} if name in logged else set[RunFiles]()
        has |= {RunFiles.CHANGES} if any(name in runs for runs in commits.values()) else set()
        if found := select_prunable(run, need, rules, now_ms) & has:
            going[name] = found
        if name in logged and RunFiles.LOGS not in found:
            logs.append(LogsOfRun(name, logged[name], may_go_at_ms(run, need)))
    for name in select_excess(logs, rules.logs_bytes):
        going[name] = going.get(name, frozenset()) | {RunFiles.LOGS}
    stay = [need for name, need in needs.items() if name not in going]
    kept = Counter(need for need in stay if need is not None)
    return Retention(going, kept, stay.count(None), commits)


def _need_of(core: Core, tx: Transaction, run: Run) -> FilesNeed | None:
    """Return why the run's files must be kept, or None if nothing needs them."""
    if run.state is not RunState.ENDED:
        return FilesNeed.AT_WORK
    now_ms = core.wall_ms()
    used_ms = _used_ms(tx, run, now_ms)
    if used_ms is not None and now_ms - used_ms < core.rules.keep.sessions_ms:
        return FilesNeed.SESSION
    return next((need for find in features_of(core).needs if (need := find(core, tx, run)) is not None), None)


def _used_ms(tx: Transaction, run: Run, now_ms: int) -> int | None:
    """Return when the run's session last worked; None if it has no session or it was closed."""
    session = session_of(tx, run)
    if session is None or session.closed_by is not None:
        return None
    newest = tx.get(Run, session.run)
    return now_ms if newest is None or newest.finished_ms is None else newest.finished_ms


def _mark_pruned(tx: Transaction, plan: Retention, now_ms: int) -> list[Run]:
    """Return the plan's runs with a record of what was pruned and when."""
    found = []
    for name, kinds in plan.going.items():
        run = tx.get(Run, name)
        if run is not None:
            gone = {**LetGo.of(run).let_go, **{one.value: now_ms for one in kinds}}
            found.append(LetGo(gone).on(run))
    return found


def carry_out(core: Core, files: FilesOfRuns, plan: Retention, by: str) -> None:
    """Record what is pruned, then delete it; after a crash the next retention pass deletes what remained."""
    with unit_of_work(core) as work:
        for run in _mark_pruned(work.tx, plan, core.wall_ms()):
            work.tx.put(run)
        if plan.going:
            counts = {one.value: plan.count(one) for one in RunFiles}
            work.audit("land", "info", "files of old runs were pruned", None, by=by, **counts)
    for repository, runs in plan.commits.items():
        going = [name for name in runs if RunFiles.CHANGES in plan.going.get(name, ())]
        if going:
            files.forget_commits(repository, going)
        files.pack(repository, bool(going) or by != BY)
    for name, kinds in plan.going.items():
        if RunFiles.LOGS in kinds:
            files.forget_logs(name)


def _is_due(core: Core) -> bool:
    with core.ports.ledger.transaction() as tx:
        done = tx.get(Setting, DONE)
    return done is None or not 0 <= core.wall_ms() - done.changed_ms < DAY_MS


class DailyRetention(PeriodicThread):
    """A thread that applies retention once a day, even if the coordinator was down for a whole day."""

    def __init__(self, core: Core, files: FilesOfRuns, look_s: float = LOOK_S) -> None:
        super().__init__("retention", look_s)
        self._core, self._files = core, files

    def look(self) -> bool:
        """Apply retention if it is due; return whether it was due."""
        core = self._core
        if not _is_due(core):
            return False
        carry_out(core, self._files, plan_retention(core, self._files), BY)
        with unit_of_work(core) as work:
            work.tx.put(Setting(DONE, "", core.wall_ms(), BY))
        return True
