"""Verbs of runs: dispatch, list, show, follow, stop, retry."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pancode.agents.request import DispatchRequest
from pancode.code.landing.verifying import ask
from pancode.control import run
from pancode.control.core import Core
from pancode.control.faces import Json, ListPage, ListPlace, Surroundings
from pancode.control.finding import find_run
from pancode.control.shapes import RunDetail, RunShape
from pancode.core.records import Run
from pancode.dispatch import snapshots
from pancode.dispatch.dispatch import Dispatched, JudgedDispatch, dispatch, dry_run
from pancode.dispatch.enqueue import enqueue
from pancode.runs import runs
from pancode.runs.report import report
from pancode.runs.retry import dispatch_again
from pancode.runs.stop import stop, stop_waiting
from pancode.work.workflow import known


class RunVerbs:
    """`text` names a run: its id, the beginning of it, `last` or `running`. NotFoundError for any other."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # -- acting ------------------------------------------------------------------------------------

    def dry_run(self, around: Surroundings, request: DispatchRequest, parent: str | None) -> JudgedDispatch:
        """Judge a request as `dispatch` would, and change nothing."""
        return dry_run(self._core, around, request, parent)

    def dispatch(self, around: Surroundings, request: DispatchRequest, parent: str | None) -> Dispatched:
        """Judge a request by the ten gates, take the snapshot and queue the run. RefusedError."""
        return dispatch(self._core, around, request, parent)

    def retry(self, around: Surroundings, old: Run, by: str, resume: bool, alone: bool = False) -> Dispatched:
        """Dispatch the request of an ended run once more; `resume`: in its session. UsageError.

        The retry of a step's run takes the step, unless it is to be `alone`.
        """
        return dispatch_again(self._core, around, old, by, resume, alone)

    def verify_elsewhere(self, ended: Run, on: str, by: str, again: bool = False) -> RunShape:
        """Have another node run the gates on a result; `again`: though it is disputed. RefusedError."""
        ask(self._core, ended, on, by, again)
        return self.brief(ended.id)

    def enqueue(self, admitted: Run) -> Run:
        """Hold the budget, queue an admitted run, give up the lost one that it replaces: all or nothing.

        RefusedError when a ceiling has no room.
        """
        with self._core.lock:
            return enqueue(self._core, admitted)

    def stop(self, run_id: str, reason: str) -> Run:
        """Ask for the end of a run."""
        with self._core.lock:
            return stop(self._core, run_id, reason)

    def stop_waiting(self, text: str, reason: str) -> Run:
        """Take a run out of the queue. UsageError for one that a node has: `stop` ends it there."""
        with self._core.lock:
            return stop_waiting(self._core, self.find(text), reason)

    # -- asking ------------------------------------------------------------------------------------

    def find(self, text: str, *, to_land: bool = False) -> Run:
        """The run that this text names; `to_land`: the last one is one with a repository."""
        with self._core.ports.ledger.transaction() as tx:
            return find_run(tx, text, to_land=to_land)

    def filters(self, wanted: Mapping[str, str], agents: Collection[str]) -> dict[str, str]:
        """The same filters, with whole names; `agents`: those of files. NotFoundError."""
        return known.filters(self._core, wanted, agents)

    def newest(
        self, limit: int, filters: Mapping[str, str], after: ListPlace | None = None
    ) -> ListPage[RunShape]:
        """The newest runs that fit the filters (`faces.RUN_FILTERS`), newest first, from that place on."""
        return runs.runs(self._core, limit, runs.Filter.of(filters, self._core.wall_ms()), after)

    def show(self, text: str) -> RunDetail:
        """A run with its attempts and fences."""
        return run.show(self._core, text)

    def brief(self, text: str) -> RunShape:
        """A run as one row of the list."""
        return run.brief(self._core, text)

    def queued(self, done: Dispatched) -> Json:
        """The answer to a dispatch: the new run, its workflow, and warnings."""
        within = {} if done.run.workflow is None else {"workflow": done.run.workflow}
        return {**run.queued(done.run, done.chosen), **within, "warnings": list(done.warnings)}

    def report(self, judged: JudgedDispatch) -> Json:
        """The answer to a dry run: the ten gates, and the run that would be queued."""
        return report(judged)

    def snapshots(self) -> list[snapshots.UnderWay]:
        """The snapshots that are being taken now, oldest first."""
        return snapshots.under_way(self._core)
