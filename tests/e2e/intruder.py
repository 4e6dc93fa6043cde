"""Somebody who can write to Redis as the coordinator's own user, and has keys, but not the coordinator's."""

from __future__ import annotations

import base64
from typing import Any

from node_agent.link.worker import envelope_of
from node_agent.wire import keys
from node_agent.wire.clock import SystemClock
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.model import FleetTime
from node_agent.wire.signing import Message, SigningKey, parse_envelope, parse_message
from pancode.queue.queue import enqueue_job
from tests.e2e.ground import redis_of
from tests.e2e.owner import Owner

STRANGER = SigningKey(b"a key that nobody has enrolled!!")


class Intruder:
    """What the coordinator's password lets one do; the signing key stays out of reach."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.redis: Any = redis_of(owner)
        told = owner.ask("fleet", "status")["coordinator"]
        self.fleet, self.epoch = str(told["fleet"]), int(told["epoch"])

    def close(self) -> None:
        self.redis.close()

    def now(self) -> FleetTime:
        return FleetTime(epoch=self.epoch, ms=SystemClock().boot_ms())

    # -- jobs

    def job_of(self, tag: str, identity: AttemptId) -> str:
        """The genuine envelope as it went through Redis."""
        data, timeout = self.redis.hmget(f"rq:job:{keys.job_id(tag, identity)}", "data", "timeout")
        return envelope_of(data, timeout).decode()

    def push(self, tag: str, number: int, envelope: str) -> str:
        """Put it into a node's queue under a job id that nobody has closed; returns the id."""
        identity = AttemptId(run="r-forged", attempt=1, lease=number)
        enqueue_job(self.redis, None, tag, identity, envelope)
        self.redis.publish(keys.hint_channel(tag), "1")
        return keys.job_id(tag, identity)

    def taken(self, tag: str) -> bool:
        """Whether the node has taken all that was in its queue."""
        return not self.redis.llen(f"rq:queue:{keys.node_queue(tag)}")

    # -- words

    def to_node(self, tag: str, message: Message, key: SigningKey = STRANGER) -> None:
        """A control message."""
        self.redis.xadd(keys.down_stream(tag), {"e": message.signed(key).model_dump_json(), "seq": 99_999})
        self.redis.publish(keys.hint_channel(tag), "1")

    def to_coordinator(self, tag: str, envelope: str) -> None:
        """An event, a receipt, an inventory."""
        self.redis.xadd(keys.up_stream(tag), {"e": envelope})
        self.redis.publish(keys.UP_HINT, tag)

    def heard(self, tag: str) -> bool:
        """Whether the coordinator has taken all that was said in that node's name."""
        return not self.redis.xlen(keys.up_stream(tag))


def altered(envelope: str, old: str, new: str) -> str:
    """The same signature over another content."""
    found = parse_envelope(envelope)
    body = found.body().replace(old.encode(), new.encode())
    assert body != found.body(), f"{old} is not in it"
    changed = base64.b64encode(body).decode()
    return found.model_copy(update={"payload": changed}).model_dump_json()


def resigned(kind: type[Message], envelope: str, key: SigningKey = STRANGER, **changes: Any) -> str:
    """The same message, changed, under another key."""
    message = parse_message(kind, parse_envelope(envelope).body())
    return message.model_copy(update=changes).signed(key).model_dump_json()


def job_in(envelope: str) -> Job:
    return parse_message(Job, parse_envelope(envelope).body())
