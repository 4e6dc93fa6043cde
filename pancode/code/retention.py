"""Lets go of what old runs left on this disk: asked for by a person, and once a day by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pancode.code.landing.queue import waiting
from pancode.control.core import Core
from pancode.control.run import session_of
from pancode.control.work import unit_of_work
from pancode.core.ports import Transaction
from pancode.core.records import Run, RunState, Setting, Workflow
from pancode.core.values import replace
from pancode.dispatch.workspaces import named
from pancode.essential import PeriodicThread
from pancode.life.kept import RunFiles
from pancode.life.retention import DAY_MS, FilesNeed, RunBeside, let_go, need_of
from pancode.work.workflow.results import is_the_result

DONE = "retention"
"""The setting that says when this was done by itself last."""
LOOK_S = 600.0
BY = "the coordinator"


class FilesOfRuns(Protocol):
    """What this disk keeps of runs."""

    def commits(self) -> Mapping[str, frozenset[str]]:
        """By repository of the depot: the runs whose commits it names."""

    def logged(self) -> frozenset[str]:
        """The runs that have logs."""

    def forget_commits(self, repository: str, runs: Iterable[str]) -> None:
        """Their commits have no names any more. Idempotent."""

    def forget_logs(self, run: str) -> None:
        """Its logs are gone. Idempotent."""

    def pack(self, repository: str, now: bool) -> None:
        """Give room back: objects without a name go two weeks after they came. Not `now`: where it is due."""

    def sizes(self) -> dict[str, int]:
        """Bytes on this disk by what they are for."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What may go, by run, and how many runs stay for which need. `young`: too few days have passed."""

    going: Mapping[str, frozenset[RunFiles]]
    kept: Mapping[FilesNeed, int]
    young: int
    commits: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By repository: all runs whose commits it names."""

    def count(self, what: RunFiles) -> int:
        return sum(what in found for found in self.going.values())


def planned(core: Core, files: FilesOfRuns) -> Retention:
    """Changes nothing. Files of runs that the ledger does not know stay: it may be an older copy."""
    commits, logged, rules, now_ms = files.commits(), files.logged(), core.rules.keep, core.wall_ms()
    lands = {action.run for action in waiting(core)}
    going, kept, young = dict[str, frozenset[RunFiles]](), Counter[FilesNeed](), 0
    for name in sorted(logged.union(*commits.values())):
        with core.ports.ledger.transaction() as tx:
            run = tx.get(Run, name)
            if run is None:
                continue
            need = need_of(run, _beside(tx, run, lands, now_ms), rules, now_ms)
        found = let_go(run, need, rules, now_ms)
        has = {RunFiles.LOGS} if name in logged else set[RunFiles]()
        has |= {RunFiles.CHANGES} if any(name in runs for runs in commits.values()) else set()
        if found & has:
            going[name] = found & has
        elif need is not None:
            kept[need] += 1
        else:
            young += 1
    return Retention(going, kept, young, commits)


def _beside(tx: Transaction, run: Run, lands: set[str], now_ms: int) -> RunBeside:
    workspace = run.terms.get("in_workspace")
    return RunBeside(
        session_used_ms=_used_ms(tx, run, now_ms),
        workflow=tx.get(Workflow, run.workflow) if run.workflow is not None else None,
        in_workspace=workspace is not None and named(tx, workspace) is not None,
        lands=run.id in lands,
        is_result=run.state is RunState.ENDED and is_the_result(tx, run),
    )


def _used_ms(tx: Transaction, run: Run, now_ms: int) -> int | None:
    """When its session was at work last; None: it has none, or somebody has ended it."""
    session = session_of(tx, run)
    if session is None or session.closed_by is not None:
        return None
    newest = tx.get(Run, session.run)
    return now_ms if newest is None or newest.finished_ms is None else newest.finished_ms


def _without(tx: Transaction, plan: Retention, now_ms: int) -> list[Run]:
    """The runs as they are now, with what goes of them written down."""
    found = []
    for name, kinds in plan.going.items():
        run = tx.get(Run, name)
        if run is not None:
            gone = {**run.terms.get("let_go", {}), **{one.value: now_ms for one in kinds}}
            found.append(replace(run, terms={**run.terms, "let_go": gone}))
    return found


def carry_out(core: Core, files: FilesOfRuns, plan: Retention, by: str) -> None:
    """First it is written down, then it is done: what a crash left over goes the next time."""
    with unit_of_work(core) as work:
        for run in _without(work.tx, plan, core.wall_ms()):
            work.tx.put(run)
        if plan.going:
            counts = {one.value: plan.count(one) for one in RunFiles}
            work.audit("land", "info", "files of old runs were let go", None, by=by, **counts)
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
    """A thread that does so once a day, also if the coordinator runs for less than a day at a time."""

    def __init__(self, core: Core, files: FilesOfRuns, look_s: float = LOOK_S) -> None:
        super().__init__("retention", look_s)
        self._core, self._files = core, files

    def look(self) -> bool:
        """Whether it was due, and is done."""
        core = self._core
        if not _is_due(core):
            return False
        carry_out(core, self._files, planned(core, self._files), BY)
        with unit_of_work(core) as work:
            work.tx.put(Setting(DONE, "", core.wall_ms(), BY))
        return True
