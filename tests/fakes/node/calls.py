"""Questions about calls, and their answers, in memory; and a node that keeps no sessions."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from node_agent.attempt.ports import DiskFull, StepFailed
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.policy import CallAsked
from node_agent.wire.receipt import Usage
from tests.fakes.node.host import MemoryHost


class MemoryCalls:
    """The CallsPort over a MemoryHost."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        name = str(identity)
        asked = self._host.calls.get(name, [])
        return tuple(one for one in asked if (name, one.call) not in self._host.answers)

    def folders(self, identity: AttemptId) -> tuple[Path, ...]:
        return ()

    def answers(self, identity: AttemptId) -> tuple[bytes, ...]:
        return tuple(data for (name, _), data in self._host.answers.items() if name == str(identity))

    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        if self._host.full:
            raise DiskFull("the disk is full")
        self._host.answers[str(identity), call] = data

    def patience(self, phase: Path, waits: bool) -> None:
        (self._host.patient.add if waits else self._host.patient.discard)(str(phase))


class NoSessions:
    """The Sessions port of a node that keeps none. `stored`: (run, session) that are there nevertheless."""

    def __init__(self, stored: Set[tuple[str, str | None]] = frozenset()) -> None:
        self._stored = stored

    def keep(self, job: Job, session: str | None, used: Usage) -> str:
        return ""

    def has(self, job: Job, session: str | None) -> bool:
        return (job.identity.run, session) in self._stored

    def go_on(self, job: Job) -> None:
        if job.resume is not None:
            raise StepFailed(FailureKind.CANNOT_START, f"no session of {job.resume.run} is stored here")

    def put_back(self, job: Job) -> None:
        """There is none."""

    def trim(self, now_ms: int) -> None:
        """There is none."""
