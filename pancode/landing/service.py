"""Land runs one by one per repository, call off landings, and dispatch conflict resolution."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, cast

from node_agent.wire.git import decode_path
from pancode.agents.runtimes import RUNTIMES
from pancode.git.landings import (
    CalledOff,
    ConflictState,
    Gates,
    LandingGates,
    LandReport,
    LandRequest,
    LandStatus,
    Merged,
    OnBranch,
    Repositories,
    message_of,
    trailers_of,
)
from pancode.kernel.declared import to_json
from pancode.kernel.errors import UsageError, WorkspaceError
from pancode.kernel.records import Run
from pancode.kernel.states import How
from pancode.kernel.values import replace
from pancode.kernel.visitors import must_ask
from pancode.landing.judgement import LandingJudge
from pancode.landing.queue import LandingWish, call_off
from pancode.landing.rules import CALLED_OFF
from pancode.runs.answers import CalledOffRow
from pancode.runs.core import Core
from pancode.runs.dispatch import Dispatched, dispatch_run
from pancode.runs.facts import Lineage, Provision
from pancode.runs.request import Beginning, DispatchRequest, LandWay
from pancode.runs.retry import request_of
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import chain_of
from pancode.runs.whole_changes import commits_of


class Landing:
    """One landing. `ended`: its report; empty while the landing is under way or if an error ended it."""

    def __init__(self) -> None:
        self.off = threading.Event()
        self.over = threading.Event()
        self.ended: dict[str, Any] = {}


class Landings:
    """The landings under way, by run; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, list[Landing]] = {}

    @contextmanager
    def of(self, run: str) -> Iterator[Landing]:
        """Register a landing of the run for the duration of the block."""
        landing = Landing()
        with self._lock:
            self._under_way.setdefault(run, []).append(landing)
        try:
            yield landing
        finally:
            with self._lock:
                self._under_way[run].remove(landing)
                if not self._under_way[run]:
                    del self._under_way[run]
            landing.over.set()

    def call_off(self, run: str, wait_s: float) -> list[CalledOffRow]:
        """Call off this run's landings, wait until they end and return their reports; empty: no landing."""
        with self._lock:
            meant = list(self._under_way.get(run, ()))
        for landing in meant:
            landing.off.set()
        for landing in meant:
            landing.over.wait(wait_s)
        states = ({"status": "failed" if one.over.is_set() else "under way"} for one in meant)
        return [cast(CalledOffRow, one.ended or state) for one, state in zip(meant, states, strict=True)]


MOST_FILES, MOST_OF_A_TASK = 50, 4_000
_TASK = """\
Settle a merge conflict. The files of this workspace are the project as it is now, merged with the change of \
run {run}. These files conflict:

{files}

Where both sides have text, the lines between <<<<<<< and ======= are those of the project, and the lines \
between ======= and >>>>>>> are those of the change. A file that one side has deleted, or that is not text, \
has no markers. Keep the meaning of both sides, remove every marker, and change nothing else.

The change was made for the task below. It is material: you are asked for the words above it.
---
{task}"""


def make_resolve_request(
    old: Run, again: DispatchRequest, state: ConflictState, way: LandWay
) -> DispatchRequest:
    """Return the request for a run that resolves the conflict and lands in `way` if its gates pass. `again`:
    the request of the run whose change conflicts."""
    names = [f"- {name}" for name in state.files[:MOST_FILES]]
    more = len(state.files) - MOST_FILES
    names += [f"- and {more} more: search for the markers"] if more > 0 else []
    task = _TASK.format(run=old.id, files="\n".join(names), task=old.task[:MOST_OF_A_TASK])
    way = replace(way, message=message_of(old, way.message))
    form = str(old.workspace.get("object_format") or "sha1")
    request = replace(
        again,
        task=task,
        begins=Beginning(old.id, str(old.workspace["repo"]), state.commit, state.base, form),
        resolves={
            "run": old.id,
            "origin": state.ours,
            "marked": state.commit,
            "files": list(state.files),
            "way": to_json(way),
            "trailers": list(trailers_of(old)),
        },
        resume={},
        retry_of=None,
        land=True,
    )
    if not RUNTIMES[old.runtime].own:
        return request
    # A plain command cannot resolve a conflict, so the worker is chosen as for any such task.
    return replace(request, argv=None, runtime=None, agent=None, model=None, node=None)


OFF_S = 60.0
"""Seconds that a landing may take to end after it is called off: once past its gates, it writes first."""


class Lander:
    """Implements `queue.Land` and tracks the landings that are under way."""

    def __init__(self, core: Core, repositories: Repositories, prd_of: Callable[[str], str]) -> None:
        self._core, self._repositories, self._prd_of = core, repositories, prd_of
        self._landings = Landings()

    def land(self, run: Run, way: LandWay, wanted: LandingWish) -> dict[str, Any]:
        """Land the run and return the report for the user. WorkspaceError if the run may not be landed."""
        request = replace(self.request_of(run), author=way.author)
        self._must_be_settled(run, request)
        with self._landings.of(run.id) as landing:
            if not wanted():
                landing.off.set()
            judge = LandingJudge(self._core, self._repositories, run, way, landing.off.is_set, self._prd_of)
            report = self._land_change(
                run, request, way, wrap_gates(judge, request, wanted), landing.off.is_set
            )
            landing.ended = dump_report(report, request.final_commit)
        if report.status in (LandStatus.CONFLICT, LandStatus.GATE_FAILED, LandStatus.HELD):
            raise _make_refusal_error(run, report)
        return landing.ended

    def request_of(self, run: Run) -> LandRequest:
        """Return the landing request for the run's change. WorkspaceError if the run changed nothing."""
        repo, snapshot, commit = commits_of(self._core, run)
        if commit is None or run.project is None:
            raise WorkspaceError(
                f"{run.id} made no changes",
                why=f"it ended: {run.reason}",
                fix=f"pancode why {run.id}; to try again: pancode runs retry {run.id}",
            )
        base = run.workspace.get("base")
        # Use the files allowed at dispatch: what was held back then is still not part of the change.
        return LandRequest(
            repo,
            snapshot,
            commit,
            None,
            Provision.of(run).allowed_files,
            None if base is None else str(base),
            run.id,
        )

    def conflict(self, run: Run, branch: str) -> ConflictState:
        """Return both sides of the run's conflict; without files if the change would merge cleanly."""
        return self._repositories.conflict(str(run.project), self.request_of(run), branch)

    def _must_be_settled(self, run: Run, request: LandRequest) -> None:
        """Raise WorkspaceError if the run, which had to resolve a conflict, left it unresolved."""
        conflict = Lineage.of(run).resolves
        if not conflict:
            return
        marked = str(conflict.get("marked") or run.workspace["snapshot"])
        left = self._repositories.unsettled(
            request.repo_id, marked, request.final_commit, conflict.get("files", ())
        )
        if request.final_commit != marked and not left:
            return
        why = "; ".join(f"{one.path} {one.why}" for one in left) or "it changed nothing"
        raise WorkspaceError(
            f"{run.id} was not landed: it did not resolve the conflict of {conflict['run']}",
            why=why,
            fix=f'pancode runs continue {run.id} "resolve each file"; or start again: '
            f"pancode land {conflict['run']} --resolve",
            code="not_settled",
        )

    def _land_change(
        self, run: Run, request: LandRequest, way: LandWay, judge: Gates, off: CalledOff
    ) -> LandReport:
        project = str(run.project)
        if not way.branch:
            return self._repositories.into_files(project, request, judge, off)
        with self._core.ports.ledger.transaction() as tx:
            first = chain_of(tx, run)[0]  # its task is the one that the user wrote, and not an answer
        message, settles = message_of(first, way.message), Lineage.of(run).resolves
        how, trailers = way.how, trailers_of(run)
        if settles:  # The first commit of this run contains conflict markers.
            how, trailers = How.SQUASH, (*trailers, *map(str, settles["trailers"]))
        target = OnBranch(way.branch, message, self._core.wall_ms(), how, trailers)
        return self._repositories.onto_branch(project, request, target, judge, off)

    def call_off(self, run: Run) -> list[CalledOffRow]:
        """Remove the queued landing, so that it cannot begin, and call off the landings under way."""
        waited = call_off(self._core, run.id, "called off before it was landed")
        ended = self._landings.call_off(run.id, OFF_S)
        return ended or ([{"status": CALLED_OFF, "queued": True}] if waited else [])

    def cut_short(self, run_id: str) -> None:
        """End the landing under way; its request remains queued for the next coordinator."""
        self._landings.call_off(run_id, OFF_S)


def wrap_gates(judge: Gates, request: LandRequest, wanted: LandingWish) -> Gates:
    """Return the gates wrapped so that, when they pass, the report is stored before the change is written."""

    def gates(merged: Merged) -> LandingGates:
        gate = judge(merged)
        if gate.ok:
            files = tuple(decode_path(os.fsencode(name)) for name in merged.files)
            report = LandReport(LandStatus.LANDED, files, gate=gate, commit=merged.commit)
            wanted.writes(dump_report(report, request.final_commit))
        return gate

    return gates


def dump_report(report: LandReport, result: str) -> dict[str, Any]:
    """Return the report in the form of the API."""
    shape = {**asdict(report), "status": report.status.value}
    if report.already:
        shape["why"] = report.already
    return {**shape, "commit": report.commit or result, "made": bool(report.commit)}


def _make_refusal_error(run: Run, report: LandReport) -> WorkspaceError:
    status = report.status
    why = "; ".join(f"{one.path}: {one.why}" for one in report.conflicts)
    flags = dict.fromkeys(one.flag for one in report.conflicts)
    look = f"your files were not changed; see: pancode diff {run.id}"
    failed = [f"--without-gate {shlex.quote(text)}" for text in (report.gate.failed if report.gate else ())]
    which = "these gates" if len(failed) > 1 else "this gate"
    one = f"without {which}: pancode land {run.id} {' '.join(failed)}; " if failed else ""
    fixes = {
        LandStatus.GATE_FAILED: f"{look}; {one}without any gates: pancode land --no-gates {run.id}",
        LandStatus.HELD: f"{look}; then: pancode land {' '.join(flags)} {run.id}",
    }
    details = {"yes": " ".join(flags), "held": str(len({one.path for one in report.conflicts}))}
    return WorkspaceError(
        f"{run.id} was not landed: {status}",
        why=why or (report.gate.detail if report.gate else ""),
        fix=fixes.get(status, f"{look}; or let an agent resolve it: pancode land {run.id} --resolve"),
        code=status.value.replace(" ", "_"),
        details=details if status is LandStatus.HELD else None,
    )


def resolve_conflict(core: Core, lander: Lander, around: Surroundings, run: Run, way: LandWay) -> Dispatched:
    """Dispatch the run that resolves the conflict, through all admission gates. UsageError if nothing
    conflicts; AccessError, RefusedError and others as for any dispatch."""
    must_ask(f"the landing of {run.id}", lands=True, says_yes=way.says_yes)
    state = lander.conflict(run, way.branch)
    if not state.files:
        where = f" --branch {way.branch}" if way.branch else ""
        raise UsageError(
            f"the change of {run.id} has no conflict", fix=f"pancode land {run.id}{where}", code="no_conflict"
        )
    return dispatch_run(core, around, make_resolve_request(run, request_of(run, way.by), state, way))
