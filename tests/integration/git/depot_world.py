"""A depot server on a real socket, with one project, one snapshot, and an authority that knows one run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Verb
from node_agent.workspace.depot import DepotAccess, DepotClient, hang_up
from pancode.git.depot import Depot
from pancode.git.depot_server import (
    DepotParts,
    DepotServer,
    Grant,
    Refusal,
    ServerLimits,
    StreamEnd,
    grant_for,
)
from pancode.git.log_store import LogStreams
from pancode.git.snapshot import Snapshot
from tests.crowd import until as until
from tests.fakes.node.clock import SeededIds
from tests.integration.git.repos import simple, snap


class Depots:
    """A server with one project, one snapshot, and an authority that knows one attempt."""

    def __init__(self, tmp_path: Path, depot: Depot) -> None:
        self.home = tmp_path / "coordinator"
        self.depot = depot
        self.repo = simple(tmp_path / "project")
        self.repo.write("big.bin", os.urandom(3_000_000))
        self.taken: Snapshot = snap(self.repo, depot)
        self.other: Snapshot = snap(self.repo, depot, "r-bbbb")
        self.socket = tmp_path / "s" / "depot.sock"
        self.streams = LogStreams(self.home)
        self.ends: list[StreamEnd] = []
        self.max_bytes = 50_000_000
        self.hellos = 0
        parts = DepotParts(depot, self.streams, self.authorize, SeededIds(), self.ends.append)
        self.server = DepotServer(self.socket, parts, ServerLimits(hello_s=1.0, idle_s=2.0))
        self.clients: list[DepotClient] = []
        self.client = self.another_client(lambda: self.socket)

    def another_client(self, where: Callable[[], Path]) -> DepotClient:
        self.clients.append(DepotClient(DepotAccess(where, self.sign, 5.0)))
        return self.clients[-1]

    def close(self) -> None:
        """As the end of the coordinator's process and of the nodes' does."""
        for client in self.clients:
            for log in client._logs.values():
                hang_up(log.peer)
        self.server.stop()

    def sign(self, nonce: str, verb: Verb, identity: AttemptId) -> bytes:
        return json.dumps({"signed": nonce, "verb": verb, "identity": str(identity)}).encode()

    def authorize(self, hello: bytes, nonce: str) -> Grant | Refusal:
        said = json.loads(hello)
        self.hellos += 1
        if said["signed"] != nonce:
            return Refusal("replayed")
        identity = AttemptId.parse(said["identity"])
        if identity.run == "r-wait":
            return Refusal("not yet", retry=True)
        if identity.run != "r-aaaa":
            return Refusal("not granted")
        return grant_for(said["verb"], identity, self.taken.repo_id, self.max_bytes)

    def ended(self, count: int) -> list[StreamEnd]:
        """The first `count` stream ends, once they are there."""
        until(lambda: len(self.ends) >= count)
        return self.ends


def git_children() -> set[str]:
    """Command lines of this process' git children, and of theirs."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    mine, grown = {str(os.getpid())}, True
    while grown:
        more = {row[0] for row in rows if row[1] in mine} - mine
        mine, grown = mine | more, bool(more)
    return {row[2] for row in rows if row[0] in mine and "pack" in row[2] and "git" in row[2]}
