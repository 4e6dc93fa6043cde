"""diff and land for faces: the depot's own verbs with this run's commits and gates."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pancode.adapters.git.depot import Depot
from pancode.adapters.git.diff import FileStat, diff_patch, diff_stat
from pancode.adapters.git.land import GateResult, LandRequest, LandStatus, land
from pancode.adapters.git.snapshot import SnapshotOptions, preview
from pancode.control.landed import landed
from pancode.control.plane import Plane
from pancode.domain.records import Run, RunState
from pancode.errors import WorkspaceError

GATE_S = 3_600


class DepotCode:
    """pancode.control.faces.CodeVerbs on the coordinator's depot."""

    def __init__(self, depot: Depot, plane: Plane) -> None:
        self._depot = depot
        self._plane = plane

    def preview(self, project: str) -> dict[str, Any]:
        seen = preview(Path(project), SnapshotOptions(0, environ=dict(os.environ)))
        told = {"branch": seen.branch, "head": seen.head, "warnings": list(seen.warnings)}
        return {**told, "changed": list(seen.changed), "untracked": list(seen.untracked)}

    def diff(self, run: Run, stat: bool) -> bytes:
        repo, snapshot, commit = _commits(run)
        if commit is None:
            return b""
        if stat:
            return "".join(_line(s) for s in diff_stat(self._depot, repo, snapshot, commit)).encode()
        return diff_patch(self._depot, repo, snapshot, commit)

    def land(self, run: Run, gates: bool) -> dict[str, Any]:
        """Only a run that is done, or whose owner says so by name, changes the user's tree."""
        repo, snapshot, commit = _commits(run)
        if commit is None or run.project is None:
            raise WorkspaceError(f"{run.id} changed nothing", why=f"it ended {run.outcome}: {run.reason}")
        request = LandRequest(repo, snapshot, commit, dict(os.environ))
        asked = [[str(w) for w in _words(g)] for g in run.gates] if gates else []
        report = land(
            Path(run.project), self._depot, request, (lambda p: _gates(p, asked)) if asked else None
        )
        if report.status is LandStatus.LANDED:
            landed(self._plane.core, run.id, commit, len(report.files))
        if report.status in (LandStatus.CONFLICT, LandStatus.GATE_FAILED):
            raise _refused(run, report.status, asdict(report))
        return {**asdict(report), "status": report.status.value, "commit": commit}


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


def _gates(folder: Path, gates: Sequence[Sequence[str]]) -> GateResult:
    """Each gate in the merged tree, on this machine; the first that fails decides."""
    for argv in gates:
        try:
            done = subprocess.run(
                argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=GATE_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            return GateResult(False, f"{' '.join(argv)}: {exc}")
        if done.returncode != 0:
            tail = (done.stdout + done.stderr)[-2000:].decode("utf-8", "replace").strip()
            return GateResult(False, f"{' '.join(argv)}: exit {done.returncode}: {tail}")
    return GateResult(True, "; ".join(" ".join(argv) for argv in gates))


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
