"""All parts of a node agent as one value, and two of its ports: testing models, and advancing attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from node_agent.agent.fleettime import FleetClock
from node_agent.agent.snapshots import Aside
from node_agent.attempt import ports
from node_agent.attempt.claims import Self
from node_agent.attempt.gateways import Gateways
from node_agent.attempt.journal import Journal
from node_agent.intervals import Intervals
from node_agent.wire.clock import Clock, Ids
from node_agent.wire.control import Examine
from node_agent.wire.endpoint import AskFact, EndpointFact
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


class Drive(Protocol):
    """Advances the attempts, in the caller's thread or in separate threads."""

    def wake(self, identity: AttemptId) -> None:
        """Note that this attempt has something to do now."""

    def run(self) -> int:
        """Advance the due attempts; return the milliseconds until the next one is due."""


def _at_once(work: Callable[[], None]) -> None:
    work()


@dataclass(frozen=True, slots=True)
class World:
    """All parts of a node agent. `fleet`: also the journal signer's fleet; `slots`: the configured number."""

    node: Self
    key: SigningKey
    keys: Mapping[str, PublicKey]
    """The coordinator's keys, by key id."""
    journal: Journal
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
    exams: Exams
    aside: Aside = _at_once
    """Fetches snapshots in parallel to the node agent's passes."""
