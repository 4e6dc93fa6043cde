"""diff and land for faces: the depot's own verbs with this run's commits and gates."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pancode.adapters.git.depot import Depot
from pancode.adapters.git.diff import FileStat, diff_patch, diff_stat
from pancode.adapters.git.land import LandRequest, LandStatus, land
from pancode.adapters.git.landing_gates import gate_env, run_gates
from pancode.adapters.git.snapshot import SnapshotOptions, preview
from pancode.control.landed import CALLED_OFF, call_off, landed
from pancode.control.plane import Plane
from pancode.domain.records import Run, RunState
from pancode.errors import WorkspaceError
from pancode.wiring.landings import Landings

GATE_S = 3_600
OFF_S = 60.0
"""How long one that is called off may take to end: it is past its gates then, and writes."""


def _always() -> bool:
    return True


class DepotCode:
    """pancode.control.faces.CodeVerbs on the coordinator's depot."""

    def __init__(self, depot: Depot, plane: Plane) -> None:
        self._depot = depot
        self._plane = plane
        self._landings = Landings()

    def preview(self, project: str, folder: str = "") -> dict[str, Any]:
        seen = preview(Path(project), SnapshotOptions(0, environ=dict(os.environ), folder=folder))
        told = {"branch": seen.branch, "head": seen.head, "warnings": list(seen.warnings)}
        return {**told, "changed": list(seen.changed), "untracked": list(seen.untracked)}

    def diff(self, run: Run, stat: bool) -> bytes:
        repo, snapshot, commit = _commits(run)
        if commit is None:
            return b""
        if stat:
            return "".join(_line(s) for s in diff_stat(self._depot, repo, snapshot, commit)).encode()
        return diff_patch(self._depot, repo, snapshot, commit)

    def land(self, run: Run, gates: bool, wanted: Callable[[], bool] = _always) -> dict[str, Any]:
        """Only a run that is done, or whose owner says so by name, changes the user's tree.

        `wanted`: asked once it can be called off, so that nothing falls between the two.
        """
        repo, snapshot, commit = _commits(run)
        if commit is None or run.project is None:
            raise WorkspaceError(f"{run.id} changed nothing", why=f"it ended {run.outcome}: {run.reason}")
        request = LandRequest(repo, snapshot, commit, dict(os.environ))
        asked = [[str(w) for w in _words(g)] for g in run.gates] if gates else []
        env = gate_env(os.environ, run.env)
        with self._landings.of(run.id) as landing:
            off = landing.off.is_set
            if not wanted():
                landing.off.set()
            report = land(
                Path(run.project),
                self._depot,
                request,
                (lambda folder: run_gates(folder, asked, env, GATE_S, off)) if asked else None,
                called_off=off,
            )
            landing.ended = {**asdict(report), "status": report.status.value, "commit": commit}
            if report.status is LandStatus.LANDED:  # before it counts as over: then everybody knows it
                landed(self._plane.core, run.id, commit, len(report.files))
        if report.status in (LandStatus.CONFLICT, LandStatus.GATE_FAILED):
            raise _refused(run, report.status, asdict(report))
        return landing.ended

    def call_off(self, run: Run) -> list[dict[str, Any]]:
        """First it is not asked for any more, so that none begins after those were looked for."""
        core = self._plane.core
        with core.lock, core.ports.ledger.transaction() as tx:
            meant = tx.get(Run, run.id)
            waited = meant is not None and call_off(core, tx, meant, "called off before it was landed")
        told = self._landings.call_off(run.id, OFF_S)
        return told or ([{"status": CALLED_OFF, "queued": True}] if waited else [])

    def cut_short(self, run: Run) -> None:
        """What is under way ends, and stays asked for: the next coordinator lands it."""
        self._landings.call_off(run.id, OFF_S)


def _commits(run: Run) -> tuple[str, str, str | None]:
    """Repository, snapshot and result commit; WorkspaceError where there can be none."""
    repo, snapshot = run.workspace.get("repo"), run.workspace.get("snapshot")
    if run.workspace.get("kind") != "git" or not isinstance(repo, str) or not isinstance(snapshot, str):
        raise WorkspaceError(f"{run.id} worked in an empty folder", why="it ran with --workspace none")
    commit = run.result.get("commit")
    if commit is None and run.state is not RunState.ENDED:
        raise WorkspaceError(f"{run.id} has not ended", fix=f"pancode runs show {run.id}")
    return repo, snapshot, str(commit) if commit is not None else None


def _words(gate: dict[str, object]) -> Sequence[object]:
    argv = gate.get("argv")
    return argv if isinstance(argv, list | tuple) else ()


def _refused(run: Run, status: LandStatus, report: dict[str, Any]) -> WorkspaceError:
    conflicts = [" ".join(str(v) for v in c.values() if v) for c in report["conflicts"]]
    gate = report["gate"]["detail"] if report["gate"] else ""
    return WorkspaceError(
        f"{run.id} was not landed: {status}",
        why="; ".join(conflicts) or gate,
        fix=f"your files are as they were; look: pancode runs diff {run.id}",
        code=status.value.replace(" ", "_"),
    )


def _line(stat: FileStat) -> str:
    counts = "binary" if stat.added is None else f"+{stat.added} -{stat.removed}"
    name = f"{stat.old_path} -> {stat.path}" if stat.old_path is not None else stat.path
    return f"{counts:>12}  {name}\n"
