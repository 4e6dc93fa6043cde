"""Questions about calls, and their answers, in memory."""

from __future__ import annotations

from pathlib import Path

from node_agent.attempt.ports import DiskFull
from node_agent.wire.identity import AttemptId
from node_agent.wire.policy import CallAsked
from tests.fakes.node.host import MemoryHost


class MemoryCalls:
    """The CallsPort over a MemoryHost."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        name = str(identity)
        asked = self._host.calls.get(name, [])
        return tuple(one for one in asked if (name, one.call) not in self._host.answers)

    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        if self._host.full:
            raise DiskFull("the disk is full")
        self._host.answers[str(identity), call] = data

    def patience(self, phase: Path, waits: bool) -> None:
        (self._host.patient.add if waits else self._host.patient.discard)(str(phase))
