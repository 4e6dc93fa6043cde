"""Every name in Redis, the version of the contract, and the names of a direct link's destinations."""

from __future__ import annotations

from node_agent.wire.identity import AttemptId

WIRE_VERSION = 1
ENTRY = "node_agent.agent.worker.entry"
"""The one function that an RQ job names; nobody imports it by that name, it is a label for tools."""


def node_queue(tag: str) -> str:
    """The RQ queue that one node reads."""
    return f"node.{tag}"


def pool_queue(requirement: str) -> str:
    """The RQ queue that shows admitted work waiting for a binding (tickets)."""
    return f"pool.{requirement}"


def job_id(tag: str, identity: AttemptId) -> str:
    """RQ job id of an order; only letters, digits, `-` and `_` are legal in it."""
    return f"{tag}_{identity.run}_{identity.attempt}_{identity.fence}"


def job_owner(job: str) -> tuple[str, AttemptId] | None:
    """(node's tag, identity) that `job_id` was made of; None for any other id."""
    tag, _, rest = job.partition("_")
    try:
        return tag, AttemptId.parse(rest.replace("_", "."))
    except ValueError:
        return None


def ticket_id(run: str, attempt: int) -> str:
    """RQ job id of a ticket."""
    return f"ticket_{run}_{attempt}"


def job_prefix(tag: str) -> str:
    """The ACL patterns that a node is held to."""
    return f"{tag}_"


def up_stream(tag: str) -> str:
    """Events, receipts and inventories of a node, oldest first."""
    return f"pancode:up:{tag}"


def down_stream(tag: str) -> str:
    """Control messages to a node, oldest first."""
    return f"pancode:down:{tag}"


def heartbeat_key(tag: str) -> str:
    """The node's newest heartbeat."""
    return f"pancode:heartbeat:{tag}"


def beat_key(tag: str) -> str:
    """The coordinator's newest beat for a node."""
    return f"pancode:beat:{tag}"


def hint_channel(tag: str) -> str:
    """Pub/sub: "look now"; never more than a hint."""
    return f"pancode:hint:{tag}"


UP_HINT = "pancode:hint:up"
"""Pub/sub: a node has written something."""


PROTOCOL = "pancode-"
"""With the name of an end behind it: what TLS agrees on, so that one port leads to both."""
WATCHED = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 40_000))
"""Options of a socket, where the system has them: a peer that is gone is noticed within 40 s, as behind a
tunnel."""
