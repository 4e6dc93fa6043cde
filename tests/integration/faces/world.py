"""A coordinator on memory adapters behind the real API on a socket, with a node that works in a thread."""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from typing import Any

from node_agent.wire.clock import SystemClock
from node_agent.wire.event import Revoked
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.receipt import Blob
from node_agent.wire.signing import SigningKey
from pancode.app.server.serve import serve
from pancode.runs.core import ControlSettings
from tests.fakes.bus import MemoryRedis
from tests.fakes.epochs import MemoryEpochs
from tests.fakes.ledger import MemoryLedger
from tests.fakes.node.clock import SeededIds
from tests.unit.pancode.interfaces.http.world import MemoryCoordinator
from tests.unit.pancode.runs.world import Desk, HonestDepot, ListArchive, Puppet, failed

FACTOR = 0.05
OUTCOMES: dict[str, dict[str, Any]] = {
    "error": failed(FailureKind.AGENT_FAILED, Outcome.ERROR),
    "verify_failed": failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED),
    "blocked": failed(FailureKind.NEEDS_USER, Outcome.BLOCKED),
    "timeout": failed(FailureKind.WALL_LIMIT, Outcome.TIMEOUT),
    "stalled": failed(FailureKind.IDLE_LIMIT, Outcome.STALLED),
    "budget_exceeded": failed(FailureKind.USD_LIMIT, Outcome.BUDGET_EXCEEDED),
    "infra": failed(FailureKind.SETUP_FAILED, Outcome.INFRA),
    "policy_violation": failed(FailureKind.READ_ONLY_BROKEN, Outcome.POLICY_VIOLATION),
}


class RealClock:
    """The machine's clocks, with the field that the puppet reads."""

    def __init__(self) -> None:
        self._clock = SystemClock()

    @property
    def ms(self) -> int:
        return self._clock.boot_ms()

    def wall_ms(self) -> int:
        return self._clock.wall_ms()

    def boot_ms(self) -> int:
        return self._clock.boot_ms()

    def mono_ms(self) -> int:
        return self._clock.mono_ms()


class LiveDesk(Desk):
    """The coordinator's core in real time, its waits scaled down."""

    def __init__(self) -> None:
        self.clock = RealClock()  # type: ignore[assignment]
        self.redis = MemoryRedis(self.clock.boot_ms)
        self.ledger = MemoryLedger(strict=True)
        self.depot = HonestDepot()
        self.archive, self.epochs = ListArchive(), MemoryEpochs()
        self.ids = SeededIds()
        self.key, self.former = SigningKey(b"c" * 32), []
        self.rules = ControlSettings().scale(FACTOR)
        self.restart()


class Worker(threading.Thread):
    """A node that does what the task says: an outcome's name, `slow N` lines, `hang` until it is stopped,
    `held FILE` until that file is there."""

    def __init__(self, coordinator: MemoryCoordinator, context: Desk, puppet: Puppet) -> None:
        super().__init__(name="worker", daemon=True)
        self.coordinator, self.context, self.puppet = coordinator, context, puppet
        self.stopped: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.02):
            self._breathe()
            job = self.puppet.claim()
            if job is not None:
                self._work(job)

    def _breathe(self) -> None:
        if self.puppet.beat() is not None:
            self.puppet.heartbeat()
            self.puppet.inventory()
        for control in self.puppet.controls():
            if control.body.kind == "stop":
                self.stopped.add(control.body.identity.run)

    def _work(self, job: Job) -> None:
        run = job.identity.run
        if run in self.stopped:
            self.puppet.say(job.identity, Revoked(reason="stopped"))
            return
        self.puppet.open = [job.identity]
        self.puppet.start(job)
        text = self._lines(job)
        task = job.task.split()[0] if job.task else "true"
        ended = OUTCOMES.get(task, {})
        if run in self.stopped:
            ended = failed(FailureKind.STOPPED, Outcome.INTERRUPTED)
        self.puppet.open = []
        blobs = (Blob(name="out", size=len(text), sha256="0" * 64),)
        self.puppet.deliver(job, blobs=blobs, exit_code=1 if ended else 0, **ended)

    def _lines(self, job: Job) -> bytes:
        words = job.task.split()
        endless = words[:1] in (["hang"], ["held"])
        lines = int(words[1]) if words[:1] == ["slow"] else 10_000 if endless else 1
        text = b""
        for number in range(lines):
            piece = f"line {number} \u00e9\n".encode()
            self.coordinator.streams.put(job.identity, "out", piece)
            text += piece
            if lines > 1:
                time.sleep(0.02)
                self._breathe()
            if job.identity.run in self.stopped or (words[:1] == ["held"] and Path(words[1]).exists()):
                break
        return text


def main() -> None:
    """`python -m tests.integration.faces.world HOME`: serve that home until a signal comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    home: Path = parser.parse_args().home
    context = LiveDesk()
    coordinator = MemoryCoordinator(context, home)
    worker = Worker(coordinator, context, Puppet(context, slots=1))
    worker.start()
    serve(home, lambda: coordinator)
    worker.over.set()


if __name__ == "__main__":
    main()
