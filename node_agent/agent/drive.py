"""Decides when each attempt is advanced, in the thread of the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from node_agent.attempt.job import Finished, Job, Progressed, Turn
from node_agent.attempt.ports import JournalPort
from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId


class Drive(Protocol):
    """Advances the attempts: in this thread's turn, or in threads of their own."""

    def wake(self, identity: AttemptId) -> None:
        """This attempt has something to do now."""

    def run(self) -> int:
        """Move what is due; milliseconds until something is due again."""


class InlineDrive:
    """Advances every attempt in the caller's thread, in the order in which they are due."""

    def __init__(self, job: Job, journal: JournalPort, clock: Clock, idle_ms: int) -> None:
        self._job, self._journal, self._clock, self._idle_ms = job, journal, clock, idle_ms
        self._due = {entry.identity: 0 for entry in journal.live()}
        self.moved: Callable[[AttemptId, Turn], None] = lambda identity, turn: None
        self.waits: dict[AttemptId, str] = {}
        """The reason why each attempt waits, in words."""

    def wake(self, identity: AttemptId) -> None:
        self._due[identity] = 0

    def run(self) -> int:
        now = self._clock.mono_ms()
        for identity in [one for one, due in self._due.items() if due <= now]:
            self._advance(identity, now)
        return max(0, min((due - now for due in self._due.values()), default=self._idle_ms))

    def _advance(self, identity: AttemptId, now: int) -> None:
        turn: Turn = Progressed()
        while isinstance(turn, Progressed):
            turn = self._job.advance(identity)
            self.moved(identity, turn)
        if isinstance(turn, Finished):
            self._due.pop(identity, None)
            self.waits.pop(identity, None)
        else:
            self._due[identity], self.waits[identity] = now + turn.ms, turn.why
