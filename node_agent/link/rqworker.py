"""Speaks RQ on the node: claims and closes jobs atomically, shows the node as one worker; runs nothing.

RQ's own worker loop is not used: it loses results in an outage and unpickles what it finds. `job.func` is
never imported, and of a job only the one text argument is read.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import zlib
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from node_agent.wire import keys
from node_agent.wire.clock import Clock

RQ_VERSION = "2.12.0"
"""Whose keys and forms we write."""
ENVELOPE_CAP = 8 * 2**20
WORKER_TTL_S = 60
KEEP_CLOSED_S = 7 * 24 * 3600


class NodeWorker:
    """The node as RQ's tools see it: one worker, named by the node's tag, on its own queue.

    What RQ writes of a worker, written without RQ: its package and what it imports are 4 MB of a process
    that has nothing else to do with it. A test holds this to RQ's own class.
    """

    def __init__(self, tag: str, clock: Clock) -> None:
        self.name, self.queue, self.key = tag, keys.node_queue(tag), f"rq:worker:{tag}"
        self._clock = clock
        self._birth = iso(clock.wall_ms())

    def fields(self) -> dict[str, str | int]:
        """The worker's hash."""
        return {
            "birth": self._birth,
            "last_heartbeat": iso(self._clock.wall_ms()),
            "queues": self.queue,
            "pid": os.getpid(),
            "hostname": socket.gethostname(),
            "ip_address": "unknown",  # we may not ask the server for it
            "version": RQ_VERSION,
            "python_version": platform.python_version(),
        }

    def heartbeat_args(self, envelope: str) -> list[Any]:
        """What the HEARTBEAT script wants."""
        fields = [word for pair in self.fields().items() for word in pair]
        return [self.queue, self.key, WORKER_TTL_S, keys.heartbeat_key(self.name), envelope, *fields]


class PoisonError(Exception):
    """A job that is not what we put into queues; the text says why."""


def envelope_of(data: bytes | None, timeout: bytes | None) -> bytes:
    """The only argument of the job; raises PoisonError for anything that the coordinator would not write."""
    if data is None:
        raise PoisonError("the job has no data")
    if timeout != b"-1":
        raise PoisonError("the job has a timeout, which no order has")
    try:
        call = json.loads(_inflated(data))
    except (ValueError, RecursionError) as exc:
        raise PoisonError("the job's data is not JSON") from exc
    match call:
        case [keys.ENTRY, None, [str(envelope)], dict(options)] if not options:
            return envelope.encode("utf-8", "surrogatepass")
    raise PoisonError("the job is not a call with an order as its only argument")


def _inflated(data: bytes) -> bytes:
    """Bounded, since a few bytes can blow up to gigabytes."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, ENVELOPE_CAP)
    except zlib.error as exc:
        raise PoisonError("the job's data is not compressed") from exc
    if stream.unconsumed_tail or not stream.eof:
        raise PoisonError(f"the job's data is cut, or above {ENVELOPE_CAP} bytes")
    return text


def result_fields(ok: bool, reason: str) -> list[str]:
    """An entry of RQ's result stream: 1 is success, 2 is failure with a text."""
    if ok:
        said = b64encode(json.dumps(reason or "done").encode()).decode()
        return ["type", "1", "worker_name", "", "return_value", said]
    text = b64encode(zlib.compress(reason.encode("utf-8", "replace"))).decode()
    return ["type", "2", "worker_name", "", "exc_string", text]


def iso(wall_ms: int) -> str:
    """RQ's spelling of a time."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
