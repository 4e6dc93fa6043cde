"""Writes RQ's own job format (a Redis hash), so that RQ's tools read what we put there."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from datetime import UTC, datetime

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.ports import Ticket

TICKET_FUNCTION = "pancode.ticket"
"""Names nothing that could be run: a worker of somebody else that takes a ticket fails, and does no harm."""
TEXT_CAP = 200

Fields = dict[str, str | bytes]


def iso(wall_ms: int) -> str:
    """RQ's spelling of a time."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def order_job(tag: str, identity: AttemptId, envelope: str, now_ms: int) -> Fields:
    """The job of an order: one function name, and the envelope as its only argument."""
    return _job(keys.node_queue(tag), keys.ENTRY, [envelope], f"order {identity}", now_ms)


def ticket_job(ticket: Ticket, now_ms: int) -> Fields:
    """The job of a ticket: it says what waits, and can do nothing."""
    text = " ".join(ticket.task.split())[:TEXT_CAP]
    fields = _job(ticket.queue, TICKET_FUNCTION, [], f"{ticket.agent}: {text}", now_ms)
    meta = {"run": ticket.run, "attempt": ticket.attempt, "priority": ticket.priority}
    return fields | {"meta": json.dumps(meta)}


def _job(queue: str, function: str, args: list[str], description: str, now_ms: int) -> Fields:
    return {
        "created_at": iso(now_ms),
        "enqueued_at": iso(now_ms),
        "origin": queue,
        "description": description,
        "data": _call(function, args),
        "status": "queued",
        # RQ's clocks are off: limits are in the order, and only the coordinator says that something is lost.
        "timeout": "-1",
        "result_ttl": "-1",
        "failure_ttl": "-1",
        "started_at": "",
        "ended_at": "",
        "last_heartbeat": "",
        "worker_name": "",
        "group_id": "",
        "success_callback_name": "",
        "failure_callback_name": "",
        "stopped_callback_name": "",
    }


def _call(function: str, args: list[str]) -> bytes:
    text = json.dumps([function, None, args, {}], ensure_ascii=False)
    return zlib.compress(text.encode("utf-8", "surrogatepass"))


CLOSED_CALL = _call(keys.ENTRY, ["closed"])
"""What is left of a large order in a closed job, which RQ's tools show for a week: nobody reads it again."""


def result_entry(ok: bool, reason: str) -> Fields:
    """An entry of RQ's result stream: 1 is success, 2 is failure with a text."""
    if ok:
        said = b64encode(json.dumps(reason or "done").encode()).decode()
        return {"type": "1", "worker_name": "", "return_value": said}
    text = b64encode(zlib.compress(reason.encode("utf-8", "replace"))).decode()
    return {"type": "2", "worker_name": "", "exc_string": text}
