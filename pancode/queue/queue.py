"""The coordinator's side of the Redis bus: RQ's queues for jobs and tickets, streams for other messages."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock
from typing import Any

import redis
from redis import exceptions as raised
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from node_agent.link.rqjson import JsonJob, JsonQueue
from node_agent.wire import keys
from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import MOST_HEARTBEAT_BYTES
from node_agent.wire.packing import PACKED, pack
from pancode.kernel.ports import JobToClose, NamedJobs, Offer, QueueView, Ticket, UpMessage
from pancode.kernel.quota import RedisUsage, is_full
from pancode.queue import scripts
from pancode.queue.node_rights import JOB_KEYS, node_keys, node_rules, worker_key
from pancode.queue.valkey.access import RedisAccess, connect
from pancode.queue.valkey.faults import translate_redis_errors
from pancode.queue.valkey.layout import USER_PREFIX, node_user

STEP = 1_000
"""How many keys one step scans; Redis serves other clients between two steps."""

# Measure exact sizes: with sampling, a node could put small values where the samples are taken.
WEIGH = """
local found, sums = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2]), {}
local hex = string.rep('%x', 10)
local shapes = {
  '^rq:job:(' .. hex .. ')_', '^rq:executions?:(' .. hex .. ')_', '^rq:results:(' .. hex .. ')_',
  '^rq:worker:(' .. hex .. ')$', '^rq:worker:(' .. hex .. '):',
  '^rq:%a+:node%.(' .. hex .. ')$', '^pancode:up:(' .. hex .. ')$', '^pancode:heartbeat:(' .. hex .. ')$',
  '^pancode:profile:(' .. hex .. ')$'}
for _, key in ipairs(found[2]) do
  for _, shape in ipairs(shapes) do
    local tag = string.match(key, shape)
    if tag then
      local sum = sums[tag] or {0, 0}
      sum[1] = sum[1] + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0)
      sum[2] = sum[2] + 1
      sums[tag] = sum
      break
    end
  end
end
local said = {found[1]}
for tag, sum in pairs(sums) do
  table.insert(said, tag)
  table.insert(said, sum[1])
  table.insert(said, sum[2])
end
return said
"""
"""ARGV: cursor, keys of this step. Returns {cursor, then for each node: tag, bytes, keys}."""


SWEEP = """
local found = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
local kinds = {}
for at = 4, #ARGV do kinds[ARGV[at]] = true end
for _, key in ipairs(found[2]) do
  local kind, owner = string.match(key, '^rq:(%a+):(%x+)_')
  if owner == ARGV[3] and kinds[kind] then redis.call('UNLINK', key) end
end
return found[1]
"""
"""ARGV: cursor, keys of this step, tag, kinds of keys. Returns the cursor of the next step."""


def remove_jobs(client: Any, tag: str) -> None:
    """Remove all jobs of a node and their other keys, in steps, as the node chose their number and names."""
    step, cursor = client.register_script(SWEEP), b"0"
    while True:
        cursor = step(args=[cursor, STEP, tag, *JOB_KEYS])
        if cursor == b"0":
            return


def measure_usage(client: Any) -> dict[str, RedisUsage]:
    """Return the usage of Redis by node tag. A key may count twice while the server enlarges its table."""
    step = client.register_script(WEIGH)
    found: dict[str, RedisUsage] = {}
    cursor = b"0"
    while True:
        cursor, *sums = step(args=[cursor, STEP])
        for at in range(0, len(sums), 3):
            _add(found, sums[at].decode(), RedisUsage(int(sums[at + 1]), int(sums[at + 2])))
        if cursor == b"0":
            break
    # (tag, bytes) of each connection of a node's user: its buffers and its name, which the node chose
    clients = client.client_list()
    mine = [one for one in clients if str(one.get("user", "")).startswith(USER_PREFIX)]
    connected = [
        (one["user"].removeprefix(USER_PREFIX), int(one.get("tot-mem", 0)) + len(one.get("name", "")))
        for one in mine
    ]
    for tag, size in connected:
        _add(found, tag, RedisUsage(size=size, connected=size))
    return found


def _add(found: dict[str, RedisUsage], tag: str, more: RedisUsage) -> None:
    known = found.get(tag, RedisUsage())
    found[tag] = RedisUsage(known.size + more.size, known.keys + more.keys, known.connected + more.connected)


def take_fairly(streams: Sequence[Sequence[UpMessage]], limit: int) -> list[UpMessage]:
    """Return at most `limit` messages, one from each node in turn, in the order of each stream. So no node
    can crowd out the others or get more than its share of a pass."""
    batch: list[UpMessage] = []
    streams = [_take_share(stream) for stream in streams]
    for position in range(max((len(stream) for stream in streams), default=0)):
        if len(batch) >= limit:
            break
        batch += [stream[position] for stream in streams if position < len(stream)]
    return batch[:limit]


def _take_share(stream: Sequence[UpMessage]) -> Sequence[UpMessage]:
    size = 0
    for position, message in enumerate(stream):
        if is_full(position, size):
            return stream[:position]
        size += len(message.data)
    return stream


TICKET_FUNCTION = "pancode.ticket"
"""The function that a ticket names; it does not exist, so that it fails harmlessly in a foreign worker."""
TICKET_FAILED_S = 24 * 3600
TEXT_CAP = 200
EVER = -1
"""Disables RQ's timeouts: the job has the limits, and only the coordinator declares a job lost."""


def format_rq_time(wall_ms: int) -> str:
    """Return a time in RQ's format."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def enqueue_job(client: Any, pipe: Any, tag: str, identity: AttemptId, envelope: str) -> None:
    """Enqueue the RQ job of a job envelope, its only argument."""
    JsonQueue(keys.node_queue(tag), client).enqueue_call(
        keys.ENTRY,
        [envelope],
        job_id=keys.job_id(tag, identity),
        description=f"job {identity}",
        timeout=EVER,
        result_ttl=EVER,
        failure_ttl=EVER,
        pipeline=pipe,
    )


CLOSED_CALL = zlib.compress(json.dumps([keys.ENTRY, None, ["closed"], {}]).encode())
"""Replaces a large call in a closed RQ job, which RQ's tools list for a week although it is not used."""


def result_entry(ok: bool, reason: str) -> dict[str, str]:
    """Return an entry of RQ's result stream: type 1 is success, 2 is a failure with a reason."""
    if ok:
        encoded = b64encode(json.dumps(reason or "done").encode()).decode()
        return {"type": "1", "worker_name": "", "return_value": encoded}
    text = b64encode(zlib.compress(reason.encode("utf-8", "replace"))).decode()
    return {"type": "2", "worker_name": "", "exc_string": text}


POOL_PREFIX = keys.pool_queue("")
NODE_PREFIX = keys.node_queue("")
BLOCK_MS = 5_000
FEW = 4
"""How many messages of each node the first read returns."""
CHUNK = 100
"""How many jobs are closed in one round trip, so that one node's jobs do not delay others for long."""
PAGE = 200
ODD = {
    2: "in Redis, the node's job counter was not a number",
    3: "in Redis, the node's registry named a job of another node",
}


@dataclass(frozen=True, slots=True)
class BusIntervals:
    """Times and sizes of the bus."""

    claim_lease_ms: int = 30_000
    """Milliseconds after a job's claim during which it is not pushed again."""
    keep_closed_s: int = 7 * 24 * 3600
    keep_closed: int = 200
    """How many closed jobs remain visible in RQ's tools, per node and registry."""
    down_cap: int = 1_000


class RedisBus:
    """Implements `pancode.kernel.ports.Bus` on Redis. Thread-safe; connects when needed."""

    def __init__(
        self,
        access: RedisAccess,
        clock: Clock,
        intervals: BusIntervals = BusIntervals(),
        client_factory: Callable[[RedisAccess], redis.Redis] = connect,
    ) -> None:
        self._access = access
        self._clock = clock
        self._intervals = intervals
        self._factory = client_factory
        self._pushing = Lock()
        self._packing: set[str] = set()
        """The nodes whose heartbeats are packed, so they can also read packed ones."""

    @cached_property
    def _redis(self) -> Any:
        return self._factory(self._access)

    @cached_property
    def _retake(self) -> Any:
        return self._redis.register_script(scripts.RETAKE)

    @cached_property
    def _close(self) -> Any:
        return self._redis.register_script(scripts.CLOSE)

    @contextmanager
    def _use_redis(self, operation: str) -> Iterator[Any]:
        with translate_redis_errors(self._access, operation):
            yield self._redis

    @contextmanager
    def _open_pipeline(self, operation: str) -> Iterator[Any]:
        """Yield a Redis pipeline without transaction; `execute` returns the replies."""
        with self._use_redis(operation) as client, client.pipeline(transaction=False) as pipe:
            yield pipe

    def close(self) -> None:
        """Close all connections; later use opens them again."""
        self._redis.close()

    # -- jobs and tickets ---------------------------------------------------------------------------------

    def push_jobs(self, jobs: Sequence[Offer]) -> None:
        """Push jobs in two steps. After a crash in between, a job may be in no queue; it is pushed again."""
        if not jobs:
            return
        with self._pushing:
            free = self._free_offers(jobs)
            with self._use_redis("push_jobs") as client, client.pipeline() as pipe:
                pipe.multi()
                for offer in free:
                    enqueue_job(client, pipe, offer.tag, offer.identity, offer.envelope)
                    pipe.publish(keys.hint_channel(offer.tag), "1")
                pipe.execute()

    def _free_offers(self, jobs: Sequence[Offer]) -> list[Offer]:
        """Return the jobs not claimed or closed just now; remove Redis keys of their earlier executions."""
        now, lease = self._clock.wall_ms(), self._intervals.claim_lease_ms
        between = format_rq_time(now - lease), format_rq_time(now + lease)
        with self._open_pipeline("push_jobs") as pipe:
            for one in jobs:
                args = [keys.node_queue(one.tag), keys.job_id(one.tag, one.identity), *between]
                self._retake(args=args, client=pipe)
            return [one for one, free in zip(jobs, pipe.execute(), strict=True) if free]

    def close_jobs(self, jobs: Sequence[JobToClose]) -> dict[str, str]:
        odd: dict[str, str] = {}
        for start in range(0, len(jobs), CHUNK):
            chunk = jobs[start : start + CHUNK]
            with self._open_pipeline("close_jobs") as pipe:
                for one in chunk:
                    self._close(args=self._make_close_args(one), client=pipe)
                answers = pipe.execute()
            odd |= {one.tag: ODD[answer] for one, answer in zip(chunk, answers, strict=True) if answer in ODD}
        return odd

    def _make_close_args(self, over: JobToClose) -> list[Any]:
        """Return the script's arguments to close a job, without parsing it, as a node may have written it."""
        tag, intervals = over.tag, self._intervals
        head = [keys.node_queue(tag), keys.job_id(tag, over.identity), "finished" if over.ok else "failed"]
        kept = [
            format_rq_time(self._clock.wall_ms()),
            intervals.keep_closed_s,
            intervals.keep_closed,
            tag,
            CLOSED_CALL,
            over.entry,
        ]
        entry = result_entry(over.ok, over.reason)
        return [*head, *kept, *(word for pair in entry.items() for word in pair)]

    def named_jobs(self, tag: str, cursor: int) -> NamedJobs:
        with self._open_pipeline("named_jobs") as pipe:
            queue = JsonQueue(keys.node_queue(tag), pipe)
            registry = queue.started_job_registry.key
            pipe.lrange(queue.key, 0, PAGE - 1)
            pipe.zcard(registry)
            pipe.zscan(registry, cursor, count=PAGE)
            waiting, total, (after, pairs) = pipe.execute()
        return NamedJobs(_decode_names(waiting), tuple(name for name, _ in pairs), total, int(after))

    def drop_named(self, tag: str, entries: Sequence[bytes]) -> None:
        if entries:
            with self._use_redis("drop_named") as client:
                client.zrem(JsonQueue(keys.node_queue(tag), client).started_job_registry.key, *entries)

    def show_tickets(self, tickets: Iterable[Ticket]) -> None:
        """Make the pool queues contain exactly these tickets; write only differences, as sole writer."""
        wanted: dict[str, dict[str, Ticket]] = {}
        for ticket in tickets:
            wanted.setdefault(ticket.queue, {})[keys.ticket_id(ticket.run, ticket.attempt)] = ticket
        with self._use_redis("show_tickets") as client:
            shown = {name: ids for name, ids, _ in _read_queues(client, (POOL_PREFIX,))}
            changed = [n for n in {**shown, **wanted} if [*shown.get(n, ())] != [*wanted.get(n, {})]]
            with client.pipeline() as pipe:
                pipe.multi()
                for name in changed:
                    for job in {*shown.get(name, ())} ^ {*wanted.get(name, {})}:
                        pipe.delete(JsonJob.key_for(job))
                for name in changed:
                    _show(client, pipe, JsonQueue(name, client), shown.get(name, ()), wanted.get(name, {}))
                pipe.execute()

    def queues(self) -> list[QueueView]:
        with self._use_redis("queues") as client:
            found = _read_queues(client, (POOL_PREFIX, NODE_PREFIX))
        return [QueueView(name, ids, tuple(job.split(":")[0] for job in begun)) for name, ids, begun in found]

    # -- messages -------------------------------------------------------------------------------------------

    def send_controls(self, tag: str, messages: Sequence[tuple[int, str]]) -> None:
        with self._open_pipeline("send_controls") as pipe:
            for seq, envelope in messages:
                fields = {"e": envelope, "seq": seq}
                pipe.xadd(keys.down_stream(tag), fields, maxlen=self._intervals.down_cap, approximate=False)
            pipe.publish(keys.hint_channel(tag), "1")
            pipe.execute()

    def drop_controls(self, tag: str) -> None:
        with self._use_redis("drop_controls") as client:
            client.unlink(keys.down_stream(tag))

    def set_heartbeats(self, envelopes: Mapping[str, str]) -> None:
        if not envelopes:
            return
        with self._open_pipeline("set_beats") as pipe:
            for tag, envelope in envelopes.items():
                text = envelope.encode()
                pipe.set(keys.coordinator_heartbeat_key(tag), pack(text) if tag in self._packing else text)
                pipe.publish(keys.hint_channel(tag), "1")
                # RQ finds its workers in these two sets, which all nodes share, so no node may write to them.
                pipe.sadd(WORKERS_BY_QUEUE_KEY % keys.node_queue(tag), worker_key(tag))
            pipe.sadd(REDIS_WORKER_KEYS, *map(worker_key, envelopes))
            pipe.execute()

    def heartbeats(self, tags: Sequence[str]) -> dict[str, bytes]:
        if not tags:
            return {}
        # A node writes this text. A text longer than any heartbeat is cut, and then rejected.
        with self._open_pipeline("heartbeats") as pipe:
            for tag in tags:
                pipe.getrange(keys.heartbeat_key(tag), 0, MOST_HEARTBEAT_BYTES)
            found = dict(zip(tags, pipe.execute(), strict=True))
        self._packing = {tag for tag, data in found.items() if data.startswith(PACKED)}
        return {tag: data for tag, data in found.items() if data}

    def read_profile(self, tag: str) -> bytes:
        with self._use_redis("read_profile") as client:
            found: bytes = client.getrange(keys.profile_key(tag), 0, MOST_HEARTBEAT_BYTES)
            return found

    def read_up(self, tags: Sequence[str], limit: int, wait_ms: int) -> list[UpMessage]:
        if not tags or limit < 1:
            return []
        found: dict[str, list[UpMessage]] = {tag: [] for tag in tags}
        after, count, block = (
            dict.fromkeys(tags, "0"),
            min(FEW, max(1, limit // len(tags))),
            _clamp_block(wait_ms),
        )
        while after:  # The count doubles each time, so few messages beyond a node's share are read.
            read = self._read(after, count, block)
            for tag, messages in read.items():
                found[tag] += messages
            if sum(map(len, found.values())) >= limit:
                break
            more = (tag for tag, messages in read.items() if len(messages) == count and _has_room(found[tag]))
            after = {tag: found[tag][-1].entry for tag in more}
            count, block = 2 * count, None
        return take_fairly([found[tag] for tag in tags], limit)

    def _read(self, after: dict[str, str], count: int, block: int | None) -> dict[str, list[UpMessage]]:
        """Return up to `count` messages of each node after entry `after`. `block`: milliseconds to wait."""
        tags = {keys.up_stream(tag).encode(): tag for tag in after}
        with self._use_redis("read_up") as client:
            found = client.xread(dict(zip(tags, after.values(), strict=True)), count, block)
        return {
            tags[name]: [
                UpMessage(tags[name], entry.decode(), fields.get(b"e", b"")) for entry, fields in entries
            ]
            for name, entries in found
        }

    def drop_up(self, messages: Sequence[UpMessage]) -> None:
        if not messages:
            return
        by_tag: dict[str, list[str]] = {}
        for message in messages:
            by_tag.setdefault(message.tag, []).append(message.entry)
        with self._open_pipeline("drop_up") as pipe:
            for tag, entries in by_tag.items():
                pipe.xdel(keys.up_stream(tag), *entries)
            pipe.execute()

    # -- nodes ----------------------------------------------------------------------------------------------

    def admit_node(self, tag: str, password: str) -> None:
        with self._use_redis("admit_node") as client:
            client.execute_command("ACL", "SETUSER", node_user(tag), *node_rules(tag, password))
            self._save_users(client)

    def expel_node(self, tag: str) -> None:
        named = node_keys(tag)
        with self._use_redis("expel_node") as client:
            client.execute_command("ACL", "DELUSER", node_user(tag))
            self._save_users(client)
            client.unlink(*named)
            remove_jobs(client, tag)
            with client.pipeline(transaction=False) as pipe:
                pipe.srem(REDIS_WORKER_KEYS, worker_key(tag))
                pipe.srem(JsonQueue.redis_queues_keys, JsonQueue(keys.node_queue(tag), client).key)
                pipe.execute()

    def used(self) -> int:
        with self._use_redis("used") as client:
            return int(client.info("memory")["used_memory"])

    def weigh(self) -> dict[str, RedisUsage]:
        with self._use_redis("weigh") as client:
            return measure_usage(client)

    def _save_users(self, client: Any) -> None:
        try:
            client.execute_command("ACL", "SAVE")
        except raised.ResponseError as exc:
            # An external server may have no users' file; nodes get users again at each start of the fleet.
            if "ACL file" not in str(exc):
                raise


def _has_room(messages: list[UpMessage]) -> bool:
    return not is_full(len(messages), sum(len(message.data) for message in messages))


def _clamp_block(wait_ms: int) -> int | None:
    """Return the milliseconds to wait for Redis' BLOCK; never 0, as 0 means forever."""
    return min(wait_ms, BLOCK_MS) if wait_ms > 0 else None


def _read_queues(
    client: Any, prefixes: tuple[str, ...]
) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Return each queue's name, waiting ids and running entries; a node may have written these."""
    queues = sorted((q for q in JsonQueue.all(client) if q.name.startswith(prefixes)), key=lambda q: q.name)
    with client.pipeline(transaction=False) as pipe:
        for queue in queues:
            pipe.lrange(queue.key, 0, -1)
            pipe.zrange(queue.started_job_registry.key, 0, -1)
        found = pipe.execute()
    pairs = zip(queues, found[::2], found[1::2], strict=True)
    return [(queue.name, _decode_names(waiting), _decode_names(started)) for queue, waiting, started in pairs]


def _show(client: Any, pipe: Any, queue: JsonQueue, shown: Sequence[str], wanted: dict[str, Ticket]) -> None:
    """Make the queue contain exactly these tickets in this order; those in `shown` already have RQ jobs."""
    pipe.delete(queue.key)
    for job, ticket in wanted.items():
        if job in shown:
            queue.push_job_id(job, pipeline=pipe)
        else:
            # The RQ job of a ticket only describes waiting work; it cannot be executed.
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
    if not wanted:
        pipe.srem(queue.redis_queues_keys, queue.key)


def _decode_names(found: list[bytes]) -> tuple[str, ...]:
    return tuple(name.decode("utf-8", "replace") for name in found)
