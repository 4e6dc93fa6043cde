"""A real node agent in this process: real journal, shims, runtimes, git, depot; only Redis is in memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node_agent.agent.agent import NodeAgent
from node_agent.agent.worker import ThreadDrive, Worker
from node_agent.machine.home import NodeHome, NodeSettings, RedisLogin
from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job, Workspace
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Hello
from node_agent.wire.receipt import Claims
from node_agent.wire.signing import open_as, parse_envelope
from node_agent.wiring import Parts, build
from pancode.git.depot import Depot
from pancode.git.depot_server import DepotParts, DepotServer, Grant, Refusal, ServerLimits, grant_for
from pancode.git.log_store import LogStreams
from tests.crowd import crowded
from tests.crowd import until as until
from tests.fakes.node import MemoryUplink
from tests.integration.git.repos import simple, snap, workspace_of
from tests.unit.node_agent.stage import COORDINATOR, FLEET, NODE, TAG, Coordinator, job_of

FACTOR = 0.1
RUN = f"r-git{os.getpid()}"


def attempt_of(run: str) -> AttemptId:
    """Of this process alone: what is swept of an attempt goes by its name, on the whole machine."""
    return AttemptId(run=run, attempt=1, lease=os.getpid())


class WaitingUplink(MemoryUplink):
    """A link on which something may come at any moment."""

    def wait_for_hint(self, wait_ms: int) -> bool:
        time.sleep(min(wait_ms, 20) / 1000)
        return False


class NodeWorld:
    """A node's home on disk, a depot, a coordinator; and a node agent that can leave and come back."""

    def __init__(self, tmp_path: Path) -> None:
        self.home = NodeHome(tmp_path / "n")
        self.depot = Depot(tmp_path / "depots")
        self.streams = LogStreams(tmp_path / "c")
        self.repo = simple(tmp_path / "project")
        self.taken = snap(self.repo, self.depot, RUN)
        self._enrol()
        parts = DepotParts(self.depot, self.streams, self._authorize, SystemIds(), lambda end: None)
        self.server = DepotServer(self.home.links / "g1" / "depot.sock", parts, ServerLimits())
        self.uplink = WaitingUplink()
        self.coordinator = Coordinator(SystemClock(), self.uplink, NODE.public)
        self.parts: Parts | None = None
        self._worker: Worker | None = None
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()

    def _enrol(self) -> None:
        self.home.make_folders()
        self.home.key.parent.mkdir(mode=0o700)
        self.home.key.write_text(NODE.text())
        self.home.key.chmod(0o600)
        self.home.coordinator.write_text(COORDINATOR.public.text())
        (self.home.links / "g1").mkdir(mode=0o700)
        (self.home.links / "current").write_text("g1")
        settings = NodeSettings(
            fleet=FLEET,
            name="n1",
            tag=TAG,
            slots=2,
            redis=RedisLogin(user=f"node-{TAG}", password_file="key/redis"),
            time_factor=FACTOR,
            disk_reserve=0,
        )
        self.home.settings.write_text(settings.model_dump_json())

    def _authorize(self, hello: bytes, nonce: str) -> Grant | Refusal:
        said = open_as(Hello, parse_envelope(hello), {NODE.public.keyid: NODE.public})
        if said.nonce != nonce or said.fleet != FLEET or said.node != TAG:
            return Refusal("not for this stream")
        return grant_for(said.verb, said.identity, self.taken.repo_id)

    def without_sandbox(self) -> None:
        """The node's owner wants no sandbox, whatever this machine has."""
        (self.home.root / "sandbox.json").write_text('{"off": "this test is about a node without one"}')

    # -- life

    def begin(self) -> None:
        """Depot, coordinator and node agent, each in its thread."""
        self.server.start()
        self._spawn(self._coordinate)
        self.start()

    def start(self) -> NodeAgent:
        """A node agent over what lies on disk."""
        parts = self.built()
        drives: list[ThreadDrive] = []

        def threads(job: Any) -> ThreadDrive:
            poll = parts.world.intervals.poll_ms
            drives.append(ThreadDrive(job, parts.world.journal, parts.runner, parts.world.clock, poll))
            return drives[0]

        agent = NodeAgent(parts.world, threads)
        self.parts, self._worker = parts, Worker(agent, drives[0], parts.follower)
        self._agent_thread = self._spawn(self._worker.run)
        return agent

    def built(self) -> Parts:
        """What a start puts together."""
        return build(self.home, SystemClock(), SystemIds(), self.uplink)

    def leave(self) -> None:
        """The node agent ends; what it started continues."""
        assert self._worker is not None and self.parts is not None
        self._worker.leave()
        self._agent_thread.join(10 * crowded())
        assert not self._agent_thread.is_alive()
        self.parts.runner.close()

    def end(self) -> None:
        if self._worker is not None:
            self.leave()
        self._over.set()
        for thread in self._threads:
            thread.join(10 * crowded())
        if self.parts is not None:
            for entry in self.parts.world.journal.entries():
                self.parts.runner.sweep(str(entry.identity))
        self.server.stop()

    def _spawn(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _coordinate(self) -> None:
        due = 0.0
        while not self._over.wait(0.02):
            self.coordinator.coordinate()
            if time.monotonic() >= due:
                self.coordinator.beat()
                due = time.monotonic() + 0.3

    # -- work

    def job(self, task: str, run: str = RUN, **changes: Any) -> Job:
        """For this world's repository; `workspace` none unless the run is the one with a snapshot."""
        workspace = workspace_of(self.taken) if run == RUN else Workspace(kind="none")
        late = FleetTime(epoch=1, ms=self.coordinator.now().ms + 60_000)
        base = {
            "task": task,
            "start_by": late,
            "workspace": workspace,
            "identity": attempt_of(run),
        }
        return job_of(**{**base, **changes})

    def run(self, job: Job, seconds: float = 30.0) -> Claims:
        """Push, and wait for the acknowledged end."""
        self.coordinator.push(job)
        return self.ended(job.identity, seconds)

    def ended(self, identity: AttemptId, seconds: float = 30.0) -> Claims:
        assert self.parts is not None
        until(lambda: self._is_over(identity), timeout_s=seconds, told=lambda: self.story(identity))
        assert str(identity) in self.coordinator.claims, f"it was refused: {self.story(identity)}"
        return self.coordinator.claims[str(identity)]

    def _is_over(self, identity: AttemptId) -> bool:
        entry = self.parts.world.journal.get(identity) if self.parts else None
        return entry is not None and entry.cleaned

    def marked(self, identity: AttemptId, mark: str, seconds: float = 20.0) -> None:
        """Wait until the journal has come so far."""

        def there() -> bool:
            entry = self.parts.world.journal.get(identity) if self.parts else None
            return entry is not None and entry.mark == mark

        until(there, timeout_s=seconds, told=lambda: self.story(identity))

    def story(self, identity: AttemptId) -> str:
        entry = self.parts.world.journal.get(identity) if self.parts else None
        said = [
            event.body for key, event in sorted(self.coordinator.events.items()) if key[0] == str(identity)
        ]
        claims = self.coordinator.claims.get(str(identity))
        over = (
            f"it ended: {claims.outcome} {claims.reason}\n" if claims else ""
        )  # a report shows its begin only
        return f"{over}{entry}\n{said}"

    def log(self, identity: AttemptId, name: str = "out") -> bytes:
        """What the depot has of an output."""
        try:
            return self.streams.log(identity, name).read_bytes()
        except FileNotFoundError:
            return b""


def processes_of(identity: AttemptId) -> list[str]:
    """Command lines of everything with the attempt's mark in its environment."""
    found = []
    needle = f"PANCODE_ATTEMPT={identity}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
