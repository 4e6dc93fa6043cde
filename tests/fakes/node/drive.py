"""A node agent that advances its attempts in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable

from node_agent.agent.agent import NodeAgent
from node_agent.agent.world import World
from node_agent.attempt.journal import Journal
from node_agent.attempt.procedure import Finished, Procedure, Progressed, Turn
from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId


class InlineDrive:
    """Advances every attempt in the caller's thread, in the order in which they are due."""

    def __init__(self, procedure: Procedure, journal: Journal, clock: Clock, idle_ms: int) -> None:
        self._procedure, self._journal, self._clock, self._idle_ms = procedure, journal, clock, idle_ms
        self._due = {entry.identity: 0 for entry in journal.live()}
        self.moved: Callable[[AttemptId, Turn], None] = lambda identity, turn: None
        self.waits: dict[AttemptId, str] = {}
        """The reason why each attempt waits, as text, by attempt."""

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
            turn = self._procedure.advance(identity)
            self.moved(identity, turn)
        if isinstance(turn, Finished):
            self._due.pop(identity, None)
            self.waits.pop(identity, None)
        else:
            self._due[identity], self.waits[identity] = now + turn.ms, turn.why


def make_inline_agent(world: World) -> NodeAgent:
    """Return a node agent of these parts with an `InlineDrive`."""
    poll_ms = world.intervals.poll_ms
    agent = NodeAgent(world, lambda procedure: InlineDrive(procedure, world.journal, world.clock, poll_ms))
    assert isinstance(agent.drive, InlineDrive)
    agent.drive.moved = agent.moved
    return agent
