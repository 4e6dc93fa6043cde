"""Implements port `FilesOfRuns`: the files of runs in the depot and the log folder, and their sizes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.clock import Clock
from pancode.git.depot import Depot
from pancode.git.runner import GitFailure, GitRefusal
from pancode.kernel.host.disk_use import bytes_in, sizes_of

LOGS = "logs"
FOLDERS = ("depots", LOGS, "receipts", "bundles", "checkouts", "valkey", "ledger.db", "ledger.db-wal")


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """The files of runs below `home`, the coordinator's folder."""

    depot: Depot
    home: Path
    clock: Clock

    def commits(self) -> Mapping[str, frozenset[str]]:
        """Return the ids of the runs that have refs, by repository of the depot; a damaged repository counts
        as empty."""
        found = dict[str, frozenset[str]]()
        for repository in self.depot.repositories():
            with suppress(GitFailure, GitRefusal):
                found[repository] = self.depot.runs(repository)
        return found

    def logged(self) -> Mapping[str, int]:
        """Return the size of each run's logs in bytes, by run id."""
        folder = self.home / LOGS
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return {name: bytes_in(folder / name) for name in names}

    def forget_commits(self, repository: str, runs: Iterable[str]) -> None:
        """Delete the refs to these runs' commits. Idempotent."""
        self.depot.drop(repository, runs)

    def forget_logs(self, run: str) -> None:
        """Remove the run's logs. Idempotent."""
        shutil.rmtree(self.home / LOGS / run, ignore_errors=True)

    def pack(self, repository: str, now: bool) -> None:
        """Free space: delete unreferenced objects older than two weeks; without `now`, only if it is due."""
        if now or self.depot.is_due(repository, self.clock.wall_ms()):
            self.depot.collect(repository)

    def sizes(self) -> dict[str, int]:
        """Return the bytes used on this disk by each folder of the coordinator's home, the largest first."""
        return sizes_of(self.home, FOLDERS)
