"""The values that every step of the procedure works with, and the answer of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.attempt.ceiling import Ceiling
from node_agent.attempt.claims import Self
from node_agent.attempt.gateways import Gateways
from node_agent.attempt.ports import DepotLink, JournalPort, RunnerPort, Runtimes, WorkspacesPort
from node_agent.attempt.sessions import CallsPort, NoCalls, Sessions
from node_agent.attempt.uplink import Uplink
from node_agent.tempo import Tempo
from node_agent.wire.clock import Clock, FleetTime
from node_agent.wire.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Progressed:
    """A step was taken: there may be more to do at once."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do for `ms`, unless the phase in `folder` ends before."""

    why: str
    ms: int
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """This attempt needs nothing more of this node."""


Turn = Progressed | Wait | Finished


@dataclass(frozen=True, slots=True)
class Context:
    """The node's ports and standing facts. `now`: fleet time; `session`: this start of the node agent."""

    node: Self
    key: SigningKey
    journal: JournalPort
    runner: RunnerPort
    workspaces: WorkspacesPort
    depot: DepotLink
    runtimes: Runtimes
    sessions: Sessions
    gateways: Gateways
    uplink: Uplink
    deliver: Callable[[str], None]
    """Sends a receipt, behind all events that are due. LinkDown."""
    clock: Clock
    tempo: Tempo
    now: Callable[[], FleetTime | None]
    session: str
    ceiling: Callable[[], Ceiling] = Ceiling
    """The limits of the node's owner, as the files say now."""
    calls: CallsPort = field(default_factory=NoCalls)
    boot: str = ""
    """The id of this start of the machine."""
