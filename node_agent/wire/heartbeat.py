"""The heartbeat of a node and the ask that it carries."""

from __future__ import annotations

from node_agent.wire.clock import FleetTime
from node_agent.wire.identity import AttemptId
from node_agent.wire.model import Count, FleetId, Millis, NodeTag, Number, WireModel
from node_agent.wire.node import NodeFacts
from node_agent.wire.signing import Message


class Ask(WireModel):
    """How much work the node can take. Valid for 15 s of the coordinator's clock."""

    seq: Number
    slots: Count
    open: tuple[AttemptId, ...]
    """Fences that hold a slot on the node."""


class Heartbeat(Message):
    """Every 5 s. `echo` is the newest coordinator beat the node has seen: its age is the node's liveness."""

    fleet: FleetId
    node: NodeTag
    session: str
    """Made at each start of the node agent."""
    boot_id: str
    seq: Number
    boot_ms: Millis
    nonce: str
    """Answered by the coordinator's beat; new at each start and each link-up."""
    echo: FleetTime | None = None
    epoch_seen: Count
    """The highest epoch that this node has ever believed."""
    control_seen: Count
    ask: Ask
    draining: bool = False
    version: str
    facts: NodeFacts
