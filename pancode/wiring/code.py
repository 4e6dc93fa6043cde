"""The verbs preview, diff and land: the depot's own, with this run's commits, and the queue of landings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pancode.code.git.depot import Depot
from pancode.code.git.diff import FileStat, diff_patch, diff_stat
from pancode.code.git.listing import ListingLimits
from pancode.code.git.snapshot import SnapshotOptions, preview
from pancode.code.landing.lander import Lander, commits_of
from pancode.code.landing.listing import before, landing_rows, report_of
from pancode.code.landing.queue import LandingQueue
from pancode.code.landing.resolve import resolve
from pancode.control.core import Core
from pancode.control.faces import Surroundings
from pancode.core.records import Run
from pancode.dispatch.report import queued
from pancode.life.land_values import LandWay
from pancode.wiring.repositories import DepotRepositories
from pancode.wiring.reverting import RevertLook


class DepotCode:
    """pancode.control.faces.CodeVerbs on the coordinator's depot."""

    def __init__(self, depot: Depot, core: Core) -> None:
        self._depot, self._core = depot, core
        self._lander = Lander(core, DepotRepositories(depot))
        self.queue = LandingQueue(core, self._lander.land, self._lander.cut_short)
        self._reverts = RevertLook(core, depot)

    def preview(self, project: str, folder: str = "", allowed: tuple[str, ...] = ()) -> dict[str, Any]:
        options = SnapshotOptions(0, ListingLimits(allowed=allowed), dict(os.environ), folder)
        seen = preview(Path(project), options)
        summary = {"branch": seen.branch, "head": seen.head, "warnings": list(seen.warnings)}
        return {**summary, "changed": list(seen.changed), "untracked": list(seen.untracked)}

    def diff(self, run: Run, stat: bool) -> bytes:
        repo, snapshot, commit = commits_of(self._core, run)
        if commit is None:
            return b""
        if stat:
            return "".join(_line(s) for s in diff_stat(self._depot, repo, snapshot, commit)).encode()
        return diff_patch(self._depot, repo, snapshot, commit)

    def land(self, run: Run, asked: LandWay, wait: bool = True) -> dict[str, Any]:
        action = self.queue.ask(run, asked)
        if not wait:
            return {"status": "waiting", "place": self.queue.place(action)}
        report = report_of(self.queue.ended(action))
        self._reverts.look(str(run.project))
        return report

    def resolve(self, around: Surroundings, run: Run, asked: LandWay) -> dict[str, Any]:
        return queued(resolve(self._core, self._lander, around, run, asked))

    def landings(self, before_run: Run | None = None) -> list[dict[str, Any]]:
        now = self.queue.under_way()
        return landing_rows(self._core, now) if before_run is None else before(self._core, before_run, now)

    def look_for_reverts(self) -> dict[str, str]:
        return self._reverts.look()

    def call_off(self, run: Run) -> list[dict[str, Any]]:
        return self._lander.call_off(run)


def _line(stat: FileStat) -> str:
    counts = "binary" if stat.added is None else f"+{stat.added} -{stat.removed}"
    name = f"{stat.old_path} -> {stat.path}" if stat.old_path is not None else stat.path
    return f"{counts:>12}  {name}\n"
