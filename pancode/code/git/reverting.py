"""Looks whether landed changes were reverted since, when somebody looks at the account or lands."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from pancode.code.git.depot import Depot
from pancode.code.git.reverts import LandedChange, find_reverts, head_of
from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.records import EndedRun, Run
from pancode.errors import PancodeError
from pancode.life.landing import LANDED_MS
from pancode.life.signals import Reverted
from pancode.work.workflow.results import change_begins

log = logging.getLogger("pancode.reverts")
LOOKED_BACK_MS = 30 * 24 * 3_600_000
MOST_ROWS, MOST_REPOSITORIES, MOST_CHANGES = 5_000, 5, 20


class RevertLook:
    """One per coordinator; a repository whose HEAD is where it was is not looked through again."""

    def __init__(self, core: Core, depot: Depot) -> None:
        self._core, self._depot = core, depot
        self._heads: dict[str, str] = {}
        self._alone = threading.Lock()

    def look(self, only: str = "") -> dict[str, str]:
        """By run, the commit that reverted its change. A repository that cannot be read is left out.

        `only`: look only in that repository.
        """
        with self._alone:
            found: dict[str, str] = {}
            if only and self._heads.get(only) == head_of(Path(only)):
                return found
            landed = [(project, runs) for project, runs in self._landed().items() if only in ("", project)]
            for project, runs in landed[:MOST_REPOSITORIES]:
                try:
                    found |= self._in(project, runs)
                except PancodeError as error:
                    log.info("%s is not looked through for reverts: %s", project, error)
        for run, commit in found.items():
            with unit_of_work(self._core) as work:
                known = work.tx.get(Run, run)
                if known is not None:
                    work.signal(known, Reverted(commit))
        return found

    def _landed(self) -> dict[str, list[Run]]:
        """The landed runs by repository, newest first."""
        since = self._core.wall_ms() - LOOKED_BACK_MS
        by: dict[str, list[Run]] = {}
        with self._core.ports.ledger.transaction() as tx:
            rows = tx.find(EndedRun, order="ended_ms", descending=True, limit=MOST_ROWS)
            for row in rows:
                stands = row.landed and not row.reverted and row.repository is not None
                if not stands or row.ended_ms < since or len(by.get(str(row.repository), ())) >= MOST_CHANGES:
                    continue
                run = tx.get(Run, row.run)
                if run is not None:
                    by.setdefault(str(row.repository), []).append(run)
        return by

    def _in(self, project: str, runs: list[Run]) -> dict[str, str]:
        top = Path(project)
        head = head_of(top)
        if self._heads.get(project) == head:  # what takes a change back comes after it
            return {}
        changes = [change for run in runs if (change := self._change(run)) is not None]
        found = find_reverts(top, self._depot, changes, dict(os.environ))
        self._heads[project] = head
        return found

    def _change(self, run: Run) -> LandedChange | None:
        repo, commit = run.workspace.get("repo"), run.result.get("commit")
        begins = change_begins(self._core, run) or run.workspace.get("snapshot")
        if not isinstance(repo, str) or not isinstance(commit, str) or not isinstance(begins, str):
            return None
        made = run.landed if run.landed != commit else None
        at = run.result.get(LANDED_MS)  # one of an older version has none
        since = at if isinstance(at, int) else run.finished_ms or run.created_ms
        return LandedChange(run.id, repo, begins, commit, made, since)
