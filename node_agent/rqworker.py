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

from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker

from node_agent.wire import keys
from node_agent.wire.clock import Clock

ENVELOPE_CAP = 8 * 2**20
WORKER_TTL_S = 60
KEEP_CLOSED_S = 7 * 24 * 3600

_NOW = """
local tm = redis.call('TIME')
local now = tonumber(tm[1]) + tonumber(tm[2]) / 1e6
local at = string.format('%.6f', now)
"""

CLAIM = (
    _NOW
    + """
local queue, me, iso, claim = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local mine = 'rq:worker:' .. me .. ':claim'
local before = redis.call('HMGET', mine, 'claim', 'job')
if before[1] == claim and before[2] then   -- its answer was lost
  local job = 'rq:job:' .. before[2]
  if redis.call('HGET', job, 'status') == 'started' then
    return {before[2], redis.call('HMGET', job, 'data', 'timeout')}
  end
end
local prefix = me .. '_'
while true do
  local id = redis.call('LPOP', 'rq:queue:' .. queue)
  if not id then return false end
  local job = 'rq:job:' .. id
  local own = string.sub(id, 1, #prefix) == prefix and not string.find(id, ':', 1, true)
  local status = own and redis.pcall('HGET', job, 'status')
  if status == 'queued' then
    redis.call('HSET', job, 'status', 'started', 'started_at', iso, 'last_heartbeat', iso, 'worker_name', me,
      'pancode_at', at)
    redis.call('HSET', 'rq:execution:' .. id .. ':' .. claim, 'id', claim, 'job_id', id, 'created_at', at,
      'last_heartbeat', at, 'worker_name', me)
    redis.call('ZADD', 'rq:executions:' .. id, '+inf', claim)
    redis.call('ZADD', 'rq:wip:' .. queue, '+inf', id .. ':' .. claim)
    redis.call('HSET', mine, 'claim', claim, 'job', id)
    return {id, redis.call('HMGET', job, 'data', 'timeout')}
  end
end
"""
)
"""ARGV: queue, tag, time, an id of this claim. A started job has the score +inf: no RQ tool declares it dead.
An entry whose job is gone, not queued, or not ours is dropped. Returns {job, {data, timeout}} or nothing."""

SETTLE = (
    _NOW
    + """
local queue, me, id, status, iso, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local job, worker = 'rq:job:' .. id, 'rq:worker:' .. me
for _, execution in ipairs(redis.call('ZRANGE', 'rq:executions:' .. id, 0, -1)) do
  redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. execution)
  redis.call('DEL', 'rq:execution:' .. id .. ':' .. execution)
end
redis.call('DEL', 'rq:executions:' .. id)
redis.call('LREM', 'rq:queue:' .. queue, 0, id)
if redis.call('EXISTS', job) == 0 then return 0 end
if redis.call('HGET', job, 'status') == 'started' and redis.call('EXISTS', worker) == 1 then
  redis.call('HINCRBY', worker, status == 'finished' and 'successful_job_count' or 'failed_job_count', 1)
end
redis.call('HSET', job, 'status', status, 'ended_at', iso, 'pancode_at', at)
redis.call('EXPIRE', job, ttl)
redis.call('ZREM', 'rq:finished:' .. queue, id)
redis.call('ZREM', 'rq:failed:' .. queue, id)
redis.call('ZADD', 'rq:' .. status .. ':' .. queue, now + ttl, id)
redis.call('DEL', 'rq:results:' .. id)
redis.call('XADD', 'rq:results:' .. id, '*', unpack(ARGV, 7))
redis.call('EXPIRE', 'rq:results:' .. id, ttl)
return 1
"""
)
"""ARGV: queue, tag, job, finished|failed, time, seconds to keep, fields of the result."""

HEARTBEAT = """
local queue, key, ttl, place, envelope = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
redis.call('SET', place, envelope)
redis.call('HSET', key, unpack(ARGV, 6))
redis.call('HSET', key, 'state', redis.call('ZCARD', 'rq:wip:' .. queue) > 0 and 'busy' or 'idle')
redis.call('EXPIRE', key, ttl)
redis.call('SADD', 'rq:workers', key)
redis.call('SADD', 'rq:workers:' .. queue, key)
return 1
"""
"""ARGV: queue, worker key, seconds, heartbeat key, heartbeat, fields of the worker. Also after a wipe."""


class NodeWorker(BaseWorker):
    """The node as RQ's tools see it: one worker, named by the node's tag, on its own queue."""

    def __init__(self, tag: str, connection: Any, clock: Clock) -> None:
        super().__init__(
            keys.node_queue(tag),
            name=tag,
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            prepare_for_work=False,  # it would name our connection and ask for all others, which we may not
        )
        self._clock = clock
        self.hostname = socket.gethostname()
        self.pid = os.getpid()
        self.python_version = platform.python_version()
        self.birth_date = self._now()

    def _set_connection(self, connection: Any) -> Any:
        """RQ would raise our socket timeout, in order to block in Redis for minutes; we never block."""
        return connection

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC)

    def heartbeat_args(self, envelope: str) -> list[Any]:
        """What the HEARTBEAT script wants."""
        self.last_heartbeat = self._now()
        fields = [word for pair in self.serialize().items() for word in pair]
        queue = self.queue_names()[0]
        return [queue, self.key, WORKER_TTL_S, keys.heartbeat_key(self.name), envelope, *fields]


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
