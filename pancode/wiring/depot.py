"""The depot as control plane and nodes see it: git objects, logs and artifacts of this coordinator."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from node_agent.wire.clock import Clock, Ids
from node_agent.wire.gitrefs import snap_ref
from node_agent.wire.identity import AttemptId
from pancode.adapters.git.depot import Depot
from pancode.adapters.git.depot_server import DepotParts, DepotServer, StreamEnd
from pancode.adapters.git.grants import Grant, Refusal
from pancode.adapters.git.snapshot import SnapshotOptions, take_snapshot
from pancode.adapters.git.streams import Streams
from pancode.control.core import Core
from pancode.control.grant import Denied, authorize
from pancode.ports import SnapshotTaken
from pancode.wiring.home import Home

log = logging.getLogger("pancode.depot")


class DeskDepot:
    """pancode.ports.Depot on the coordinator's own disk."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self.git = Depot(home.depots)
        self.streams = Streams(home.root)
        self._clock = clock

    def snapshot(self, project: str, run: str) -> SnapshotTaken:
        options = SnapshotOptions(now_ms=self._clock.wall_ms(), environ=dict(os.environ))
        taken = take_snapshot(Path(project), self.git, run, options)
        return SnapshotTaken(
            repo=taken.repo_id,
            base=taken.base_commit,
            snapshot=taken.snapshot_commit,
            object_format=taken.object_format,
            untracked=taken.untracked,
            warnings=taken.warnings,
        )

    def commit_arrived(self, repo: str, identity: AttemptId, commit: str) -> bool:
        return self.git.verify_result(repo, identity, commit).ok

    def blob_arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        return self.streams.holds(identity, name, size, sha256)


def depot_server(path: Path, depot: DeskDepot, core: Core, ids: Ids) -> DepotServer:
    """The server for nodes; what a stream may do is read from the ledger at its hello."""

    def judge(line: bytes, nonce: str) -> Grant | Refusal:
        verdict = authorize(core, line, nonce)
        if isinstance(verdict, Denied):
            log.warning("depot: %s", verdict.why)
            return Refusal(verdict.why)
        who = verdict.identity
        refs = (snap_ref(who.run),) if verdict.repo else ()
        write = who.ref if verdict.verb == "push" else None
        return Grant(verdict.verb, who, verdict.repo, refs, write)

    def ended(end: StreamEnd) -> None:
        if end.problem:
            log.warning("depot stream %s: %s", end.grant.identity if end.grant else "?", end.problem)

    return DepotServer(path, DepotParts(depot.git, depot.streams, judge, ids, ended))
