"""Puts orders and tickets into RQ's queues, by RQ's own code, so that RQ's tools can read them."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from node_agent.link.rqjson import JsonQueue
from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.core.ports import Ticket

TICKET_FUNCTION = "pancode.ticket"
"""Names nothing that could be run: a worker of somebody else that takes a ticket fails, and does no harm."""
TICKET_FAILED_S = 24 * 3600
TEXT_CAP = 200
EVER = -1
"""RQ's clocks are off: limits are in the order, and only the coordinator says that something is lost."""


def iso(wall_ms: int) -> str:
    """RQ's spelling of a time."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def enqueue_order(client: Any, pipe: Any, tag: str, identity: AttemptId, envelope: str) -> None:
    """The job of an order: one function name, and the envelope as its only argument."""
    JsonQueue(keys.node_queue(tag), client).enqueue_call(
        keys.ENTRY,
        [envelope],
        job_id=keys.job_id(tag, identity),
        description=f"order {identity}",
        timeout=EVER,
        result_ttl=EVER,
        failure_ttl=EVER,
        pipeline=pipe,
    )


def enqueue_ticket(client: Any, pipe: Any, ticket: Ticket) -> None:
    """The job of a ticket: it says what waits, and can do nothing."""
    text = " ".join(ticket.task.split())[:TEXT_CAP]
    JsonQueue(ticket.queue, client).enqueue_call(
        TICKET_FUNCTION,
        job_id=keys.ticket_id(ticket.run, ticket.attempt),
        description=f"{ticket.agent}: {text}",
        meta={"run": ticket.run, "attempt": ticket.attempt, "priority": ticket.priority},
        timeout=EVER,
        result_ttl=EVER,
        failure_ttl=TICKET_FAILED_S,
        pipeline=pipe,
    )


CLOSED_CALL = zlib.compress(json.dumps([keys.ENTRY, None, ["closed"], {}]).encode())
"""Replaces a large order in a closed job, which RQ's tools show for a week: it is not read again."""


def result_entry(ok: bool, reason: str) -> dict[str, str]:
    """An entry of RQ's result stream: 1 is success, 2 is failure with a text."""
    if ok:
        encoded = b64encode(json.dumps(reason or "done").encode()).decode()
        return {"type": "1", "worker_name": "", "return_value": encoded}
    text = b64encode(zlib.compress(reason.encode("utf-8", "replace"))).decode()
    return {"type": "2", "worker_name": "", "exc_string": text}
