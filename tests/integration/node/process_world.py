"""The node agent as its own process, `pancode-node run`, on a real Valkey: it can be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from node_agent.attempt.records import JournalRecord
from node_agent.cli.home import inspect_home
from node_agent.wire.clock import SystemClock
from node_agent.wire.identity import AttemptId
from node_agent.wire.packing import unpack
from node_agent.wire.receipt import Claims
from pancode.kernel.errors import PancodeError
from pancode.kernel.ports import Offer
from pancode.queue.queue import RedisBus
from tests.contract.redis_servers import OwnValkey
from tests.crowd import crowded
from tests.integration.node.node_world import NodeWorld, until
from tests.unit.node_agent.stage import TAG

PASSWORD = "s3cret of n1"


class ProcessWorld(NodeWorld):
    """As NodeWorld; what the coordinator says and hears goes through Redis."""

    def __init__(self, tmp_path: Path) -> None:
        self.valkey = OwnValkey()
        super().__init__(tmp_path)
        self.bus = RedisBus(self.valkey.access, SystemClock())
        self.bus.admit_node(TAG, PASSWORD)
        (self.home.root / "key" / "redis").write_text(PASSWORD)
        depot = self.home.links / "g1" / "depot.sock"
        shape = {"generation": "g1", "redis": f"unix:{self.valkey.place}", "depot": f"unix:{depot}"}
        (self.home.links / "current").write_text(json.dumps(shape))
        self.process: subprocess.Popen[bytes] | None = None
        self._pushed, self._told = 0, 0
        self._pulse: bytes | None = None

    def begin(self) -> None:
        self.server.start()
        self._spawn(self._coordinate)
        self._spawn(self._carry)
        self.launch()

    def launch(self) -> None:
        """Start the process."""
        with (self.home.root / "log" / "agent.out").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "node_agent", "run", "--home", str(self.home.root)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": str(self.home.root)},
            )  # fmt: skip

    def kill(self, number: int = signal.SIGKILL) -> int:
        """And wait for it; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20 * crowded())

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        super().end()
        self.bus.close()
        self.valkey.discard()

    def _carry(self) -> None:
        """Between the coordinator's small uplink and the bus."""
        while not self._over.wait(0.01):
            try:
                self._down()
                self._up()
            except PancodeError:
                continue  # Redis is away

    def _down(self) -> None:
        up = self.uplink
        for claimed in up.queue[self._pushed :]:
            one = AttemptId.parse(".".join(claimed.rq_job.split("_")[1:]))
            self.bus.push_jobs([Offer(TAG, one, claimed.envelope.decode())])
            self._pushed += 1
        for sent in up.told[self._told :]:
            self.bus.send_controls(TAG, [(self._told + 1, sent.data.decode())])
            self._told += 1
        if up.pulse is not None and up.pulse != self._pulse:
            self.bus.set_heartbeats({TAG: up.pulse.decode()})
            self._pulse = up.pulse

    def _up(self) -> None:
        heard = self.bus.heartbeats([TAG]).get(TAG)
        self.uplink.heartbeat = None if heard is None else unpack(heard).decode()
        self.uplink.profiles = [self.bus.read_profile(TAG).decode()]
        messages = self.bus.read_up([TAG], 100, 1)
        self.uplink.sent.extend(message.data.decode() for message in messages)
        self.bus.drop_up(messages)

    # -- looks, from outside

    def entry(self, identity: AttemptId) -> JournalRecord | None:
        """As the files say."""
        return next((one for one in inspect_home(self.home).entries if one.identity == identity), None)

    def reached(self, identity: AttemptId, mark: str, seconds: float = 20.0) -> None:
        """Wait, closely, until the journal has that mark."""
        deadline = time.monotonic() + seconds * crowded()
        while (entry := self.entry(identity)) is None or mark not in entry.marks:
            if entry is not None and entry.cleaned:
                return
            assert time.monotonic() < deadline, (entry, self.output())

    def ended(self, identity: AttemptId, seconds: float = 30.0) -> Claims:
        until(
            lambda: self._is_over(identity),
            timeout_s=seconds,
            told=lambda: f"{self.entry(identity)} {self.output()}",
        )
        return self.coordinator.claims[str(identity)]

    def _is_over(self, identity: AttemptId) -> bool:
        entry = self.entry(identity)
        return entry is not None and entry.cleaned

    def output(self) -> str:
        """What the process wrote."""
        return (self.home.root / "log" / "agent.out").read_text()


def cli(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One call of `pancode-node`."""
    argv = [sys.executable, "-m", "node_agent", *words, "--home", str(home)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60 * crowded(), check=False)
