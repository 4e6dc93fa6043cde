"""The hello with which a node opens a stream to the depot."""

from __future__ import annotations

from typing import Literal

from node_agent.wire.bounded import Name
from node_agent.wire.identity import AttemptId
from node_agent.wire.model import FleetId, NodeTag
from node_agent.wire.signing import Message

Verb = Literal["fetch", "push", "log"]


class Hello(Message):
    """Signed by the node over the server's nonce: valid for one stream, one fence, one verb."""

    fleet: FleetId
    node: NodeTag
    nonce: Name
    identity: AttemptId
    verb: Verb
