"""Every name in Redis, and the version of the wire contract."""

from __future__ import annotations

from node_agent.wire.identity import AttemptId

WIRE_VERSION = 1
ENTRY = "node_agent.agent.worker.entry"
"""The function that every RQ job names. No code calls it by this name: it is a label for RQ's tools."""


def node_queue(tag: str) -> str:
    """Return the name of the RQ queue that this node reads."""
    return f"node.{tag}"


def pool_queue(requirement: str) -> str:
    """Return the name of the RQ queue that shows admitted work (tickets) that waits for a node."""
    return f"pool.{requirement}"


def job_id(tag: str, identity: AttemptId) -> str:
    """Return the RQ id of a job; such an id may contain only letters, digits, `-` and `_`."""
    return f"{tag}_{identity.run}_{identity.attempt}_{identity.lease}"


def job_owner(job: str) -> tuple[str, AttemptId] | None:
    """Return the node's tag and the attempt in an id that `job_id` made; None for any other id."""
    tag, _, rest = job.partition("_")
    try:
        return tag, AttemptId.parse(rest.replace("_", "."))
    except ValueError:
        return None


def ticket_id(run: str, attempt: int) -> str:
    """Return the RQ id of a ticket, which stands for an attempt that waits for a node."""
    return f"ticket_{run}_{attempt}"


def job_prefix(tag: str) -> str:
    """Return the prefix of a node's job ids, for the node's ACL patterns."""
    return f"{tag}_"


def up_stream(tag: str) -> str:
    """Return the name of the stream with a node's events, receipts and inventories, oldest first."""
    return f"pancode:up:{tag}"


def down_stream(tag: str) -> str:
    """Return the name of the stream with the control messages for a node, oldest first."""
    return f"pancode:down:{tag}"


def heartbeat_key(tag: str) -> str:
    """Return the key of the node's newest heartbeat."""
    return f"pancode:heartbeat:{tag}"


def profile_key(tag: str) -> str:
    """Return the key of the facts to which the node's newest heartbeat refers by their digest."""
    return f"pancode:profile:{tag}"


def coordinator_heartbeat_key(tag: str) -> str:
    """Return the key of the coordinator's newest heartbeat for a node."""
    return f"pancode:beat:{tag}"


def hint_channel(tag: str) -> str:
    """Return the name of the pub/sub channel whose messages only tell the node to read its queues."""
    return f"pancode:hint:{tag}"


UP_HINT = "pancode:hint:up"
"""The pub/sub channel with the signal that a node has written something."""
