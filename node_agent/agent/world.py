"""All parts of a node agent as one value, and two of its ports: testing models, and advancing attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from node_agent.agent.fleettime import FleetClock
from node_agent.agent.snapshots import Aside
from node_agent.attempt import ports
from node_agent.attempt.claims import Self
from node_agent.attempt.gateways import Gateways
from node_agent.attempt.procedure import Finished, Procedure, Progressed, Turn
from node_agent.intervals import Intervals
from node_agent.wire.clock import Clock, Ids
from node_agent.wire.control import Examine
from node_agent.wire.endpoint import AskFact, AskState, EndpointFact
from node_agent.wire.identity import AttemptId
from node_agent.wire.signing import PublicKey, SigningKey


class Exams(Protocol):
    """Tests models in parallel to the node's work. Its methods neither wait for a model nor raise."""

    def examine(self, request: Examine) -> None:
        """Test the model as soon as its endpoint is free. Idempotent. A restart drops the request."""

    def asks(self) -> tuple[AskFact, ...]:
        """Return the tests that are running or ended a short while ago."""

    def stamped(self, endpoints: tuple[EndpointFact, ...]) -> tuple[EndpointFact, ...]:
        """Return the endpoints; each model has its passport (test result), if any, for its current state."""

    def news(self) -> bool:
        """Whether a test has started or ended since the last call."""


class NoExams:
    """Replaces model tests where no model server is reached (simulations): each fails for that reason."""

    def __init__(self) -> None:
        self._asks: tuple[AskFact, ...] = ()

    def examine(self, request: Examine) -> None:
        words = "this node agent reaches no model server"
        state = AskState.GIVEN_UP
        fact = AskFact(
            ask=request.ask, endpoint=request.endpoint, model=request.model, state=state, words=words
        )
        self._asks = (*self._asks[-7:], fact)

    def asks(self) -> tuple[AskFact, ...]:
        return self._asks

    def stamped(self, endpoints: tuple[EndpointFact, ...]) -> tuple[EndpointFact, ...]:
        return endpoints

    def news(self) -> bool:
        return False


class Drive(Protocol):
    """Advances the attempts, in the caller's thread or in separate threads."""

    def wake(self, identity: AttemptId) -> None:
        """Note that this attempt has something to do now."""

    def run(self) -> int:
        """Advance the due attempts; return the milliseconds until the next one is due."""


class InlineDrive:
    """Advances every attempt in the caller's thread, in the order in which they are due."""

    def __init__(self, procedure: Procedure, journal: ports.JournalPort, clock: Clock, idle_ms: int) -> None:
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


def _at_once(work: Callable[[], None]) -> None:
    work()


@dataclass(frozen=True, slots=True)
class World:
    """All parts of a node agent. `fleet`: also the journal signer's fleet; `slots`: the configured number."""

    node: Self
    key: SigningKey
    keys: Mapping[str, PublicKey]
    """The coordinator's keys, by key id."""
    journal: ports.JournalPort
    runner: ports.RunnerPort
    workspaces: ports.WorkspacesPort
    depot: ports.DepotLink
    runtimes: ports.Runtimes
    gateways: Gateways
    uplink: ports.Uplink
    facts: ports.MachineFacts
    fleet: FleetClock
    clock: Clock
    ids: Ids
    intervals: Intervals
    slots: int
    sessions: ports.Sessions
    calls: ports.CallsPort
    exams: Exams = field(default_factory=NoExams)
    aside: Aside = _at_once
    """Fetches snapshots in parallel to the node agent's passes."""
