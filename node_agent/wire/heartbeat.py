"""The heartbeat of a node, and the request for work in it."""

from __future__ import annotations

from typing import Annotated

from node_agent.wire.bounded import Few, Name, WholeNumber
from node_agent.wire.clock import FleetTime
from node_agent.wire.identity import AttemptId
from node_agent.wire.model import Count, Digest, FleetId, Millis, NodeTag, Number, WireModel
from node_agent.wire.node import NodeFacts
from node_agent.wire.signing import Message

MOST_SLOTS = 256


class Ask(WireModel):
    """The node's room for work. Valid for 15 s of the coordinator's clock."""

    seq: Number
    slots: Annotated[int, WholeNumber(MOST_SLOTS)]
    open: Annotated[tuple[AttemptId, ...], Few(1_000)]
    """Fences that hold a slot on the node."""


class Heartbeat(Message):
    """Every 5 s. `echo` is the newest coordinator beat the node has seen: its age is the node's liveness."""

    fleet: FleetId
    node: NodeTag
    session: Name
    """Made at each start of the node agent."""
    boot_id: Name
    seq: Number
    boot_ms: Millis
    nonce: Name
    """Answered by the coordinator's beat; new at each start and each link-up."""
    echo: FleetTime | None = None
    epoch_seen: Count
    """The highest epoch that this node has ever believed."""
    control_seen: Count
    ask: Ask
    draining: bool = False
    version: Name
    obeys: Annotated[tuple[Digest, ...], Few(4)]
    """Ids of the coordinator's keys that it believes."""
    facts: NodeFacts
