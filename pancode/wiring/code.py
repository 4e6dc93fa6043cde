"""The verbs diff and land: the depot's own, with this run's commits and gates."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pancode.adapters.git.depot import Depot
from pancode.adapters.git.diff import FileStat, diff_patch, diff_stat
from pancode.adapters.git.land import LandReport, LandRequest, LandStatus, land
from pancode.adapters.git.land_branch import OnBranch, land_on_branch
from pancode.adapters.git.listing import ListingLimits
from pancode.adapters.git.snapshot import SnapshotOptions, preview
from pancode.control.faces import LandWay
from pancode.control.landed import call_off, landed
from pancode.control.plane import Plane
from pancode.control.query.continued import change_begins
from pancode.domain.life.landing import CALLED_OFF
from pancode.domain.records import Run, RunState
from pancode.errors import WorkspaceError
from pancode.wiring.judging import LandingJudge
from pancode.wiring.landings import Landings

OFF_S = 60.0
"""The time that a cancelled landing has to end: it is past its gates then, and writes."""


def _always() -> bool:
    return True


class DepotCode:
    """pancode.control.faces.CodeVerbs on the coordinator's depot."""

    def __init__(self, depot: Depot, plane: Plane) -> None:
        self._depot = depot
        self._plane = plane
        self._landings = Landings()

    def preview(self, project: str, folder: str = "", allowed: tuple[str, ...] = ()) -> dict[str, Any]:
        options = SnapshotOptions(0, ListingLimits(allowed=allowed), dict(os.environ), folder)
        seen = preview(Path(project), options)
        told = {"branch": seen.branch, "head": seen.head, "warnings": list(seen.warnings)}
        return {**told, "changed": list(seen.changed), "untracked": list(seen.untracked)}

    def diff(self, run: Run, stat: bool) -> bytes:
        repo, snapshot, commit = self._commits(run)
        if commit is None:
            return b""
        if stat:
            return "".join(_line(s) for s in diff_stat(self._depot, repo, snapshot, commit)).encode()
        return diff_patch(self._depot, repo, snapshot, commit)

    def land(self, run: Run, asked: LandWay, wanted: Callable[[], bool] = _always) -> dict[str, Any]:
        """Only a run that is done, or whose owner says so by name, changes the user's tree.

        `wanted`: asked once it can be called off, so that nothing falls between the two.
        """
        repo, snapshot, commit = self._commits(run)
        if commit is None or run.project is None:
            raise WorkspaceError(f"{run.id} changed nothing", why=f"it ended {run.outcome}: {run.reason}")
        request = LandRequest(repo, snapshot, commit, dict(os.environ), _allowed(run))
        with self._landings.of(run.id) as landing:
            if not wanted():
                landing.off.set()
            report = self._landed(run, request, asked, landing.off.is_set)
            landing.ended = {**asdict(report), "status": report.status.value}
            landing.ended |= {"commit": report.commit or commit, "made": bool(report.commit)}
            if report.status is LandStatus.LANDED:  # before it counts as over: then everybody knows it
                landed(self._plane.core, run, landing.ended, asked)
        if report.status in (LandStatus.CONFLICT, LandStatus.GATE_FAILED, LandStatus.HELD):
            raise _refused(run, report.status, asdict(report))
        return landing.ended

    def _commits(self, run: Run) -> tuple[str, str, str | None]:
        """The change of a run, counted from the start of the first run of its chain.

        Where it changed nothing itself, the result is that of the run before it.
        """
        repo, snapshot, commit = _commits(run)
        begins = change_begins(self._plane.core, run) or snapshot
        return repo, begins, commit or (snapshot if begins != snapshot else None)

    def _landed(self, run: Run, request: LandRequest, asked: LandWay, off: Callable[[], bool]) -> LandReport:
        judge = LandingJudge(self._plane, self._depot, run, asked, off)
        project = Path(str(run.project))
        if not asked.branch:
            return land(project, self._depot, request, judge, called_off=off)
        title = (run.task.strip().splitlines() or [run.id])[0][:72]
        message = asked.message or f"{title}\n\nPanCode-Run: {run.id}"
        target = OnBranch(asked.branch, message, self._plane.core.wall_ms())
        return land_on_branch(project, self._depot, request, target, judge, off)

    def call_off(self, run: Run) -> list[dict[str, Any]]:
        """First it is not asked for any more, so that none begins after those were looked for."""
        waited = call_off(self._plane.core, run.id, "called off before it was landed")
        told = self._landings.call_off(run.id, OFF_S)
        return told or ([{"status": CALLED_OFF, "queued": True}] if waited else [])

    def cut_short(self, run: Run) -> None:
        """What is under way ends, and stays asked for: the next coordinator lands it."""
        self._landings.call_off(run.id, OFF_S)


def _allowed(run: Run) -> tuple[str, ...]:
    """As at its dispatch: what was held back then is no change now."""
    told = run.terms.get("allowed_files")
    return tuple(map(str, told)) if isinstance(told, list | tuple) else ()


def _commits(run: Run) -> tuple[str, str, str | None]:
    """Repository, snapshot and result commit; WorkspaceError where there can be none."""
    repo, snapshot = run.workspace.get("repo"), run.workspace.get("snapshot")
    if run.workspace.get("kind") != "git" or not isinstance(repo, str) or not isinstance(snapshot, str):
        raise WorkspaceError(f"{run.id} worked in an empty folder", why="it ran with --workspace none")
    commit = run.result.get("commit")
    if commit is None and run.state is not RunState.ENDED:
        raise WorkspaceError(f"{run.id} has not ended", fix=f"pancode runs show {run.id}")
    return repo, snapshot, str(commit) if commit is not None else None


def _refused(run: Run, status: LandStatus, report: dict[str, Any]) -> WorkspaceError:
    told = [f"{c['path']}: {c['why']}" for c in report["conflicts"]]
    gate = report["gate"]["detail"] if report["gate"] else ""
    yes = dict.fromkeys(c["yes"] for c in report["conflicts"])
    look = f"your files are as they were; look: pancode runs diff {run.id}"
    fixes = {
        LandStatus.GATE_FAILED: f"{look}; without its gates: pancode runs land --no-gates {run.id}",
        LandStatus.HELD: f"{look}; then: pancode runs land {' '.join(yes)} {run.id}",
    }
    return WorkspaceError(
        f"{run.id} was not landed: {status}",
        why="; ".join(told) or gate,
        fix=fixes.get(status, look),
        code=status.value.replace(" ", "_"),
        details={"yes": " ".join(yes), "held": str(len({c["path"] for c in report["conflicts"]}))}
        if status is LandStatus.HELD
        else None,
    )


def _line(stat: FileStat) -> str:
    counts = "binary" if stat.added is None else f"+{stat.added} -{stat.removed}"
    name = f"{stat.old_path} -> {stat.path}" if stat.old_path is not None else stat.path
    return f"{counts:>12}  {name}\n"
