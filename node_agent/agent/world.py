"""All parts of a node agent, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node_agent.agent.exams import Exams, NoExams
from node_agent.agent.fleettime import FleetClock
from node_agent.attempt.claims import Self
from node_agent.attempt.gateways import Gateways
from node_agent.attempt.ports import (
    DepotLink,
    JournalPort,
    MachineFacts,
    RunnerPort,
    Runtimes,
    WorkspacesPort,
)
from node_agent.attempt.sessions import CallsPort, NoCalls, NoSessions, Sessions
from node_agent.attempt.uplink import Uplink
from node_agent.tempo import Tempo
from node_agent.wire.clock import Clock, Ids
from node_agent.wire.signing import PublicKey, SigningKey


@dataclass(frozen=True, slots=True)
class World:
    """All that a node agent is made of. `fleet` is the journal's signer's too; `slots`: as configured."""

    node: Self
    key: SigningKey
    keys: Mapping[str, PublicKey]
    """The coordinator's, by key id."""
    journal: JournalPort
    runner: RunnerPort
    workspaces: WorkspacesPort
    depot: DepotLink
    runtimes: Runtimes
    gateways: Gateways
    uplink: Uplink
    facts: MachineFacts
    fleet: FleetClock
    clock: Clock
    ids: Ids
    tempo: Tempo
    slots: int
    exams: Exams = field(default_factory=NoExams)
    sessions: Sessions = field(default_factory=NoSessions)
    calls: CallsPort = field(default_factory=NoCalls)
