"""The coordinator's end of the bus on Redis: RQ's own keys for orders and tickets, streams for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import redis
from redis import exceptions as raised

from node_agent.wire import keys
from node_agent.wire.clock import Clock
from node_agent.wire.scripts import OF_NODES
from pancode.adapters.redis_bus import scripts
from pancode.adapters.redis_bus.fair import take_fairly
from pancode.adapters.redis_bus.jobs import CLOSED_CALL, iso, order_job, result_entry, ticket_job
from pancode.adapters.redis_bus.rights import node_keys, node_rules, node_user, worker_key
from pancode.adapters.redis_bus.trip import Command, Trips, script
from pancode.adapters.redis_bus.weighing import sweep, weighed
from pancode.adapters.valkey.access import RedisAccess, connect
from pancode.adapters.valkey.faults import translated
from pancode.domain.quota import Kept
from pancode.ports import Named, Offer, Over, QueueView, Ticket, UpMessage

POOL_PREFIX = keys.pool_queue("")
NODE_PREFIX = keys.node_queue("")
QUEUE_KEY = "rq:queue:"
HEARTBEAT_CAP = 256 * 1024
BLOCK_MS = 5_000
CHUNK = 100
"""Jobs that are closed in one round trip: no node's may keep those of others waiting for long."""
PAGE = 200
ODD = {
    2: "in Redis, its counter of jobs was no number",
    3: "in Redis, it named a job of another node among its own",
}
PUSH, CLOSE, TICKETS = map(script, (scripts.PUSH, scripts.CLOSE, scripts.TICKETS))


@dataclass(frozen=True, slots=True)
class BusTempo:
    """Times and sizes; the defaults are what is shipped."""

    claim_lease_ms: int = 30_000
    """How long after its claim an order is not pushed again."""
    keep_closed_s: int = 7 * 24 * 3600
    keep_closed: int = 200
    """Closed jobs that RQ's tools still see, per node and registry."""
    down_cap: int = 1_000


class RedisBus:
    """Implements `pancode.ports.Bus`. Safe for many threads; opens its connections when they are needed."""

    def __init__(
        self,
        access: RedisAccess,
        clock: Clock,
        tempo: BusTempo = BusTempo(),
        client_factory: Callable[[RedisAccess], redis.Redis] = connect,
    ) -> None:
        self._access = access
        self._clock = clock
        self._tempo = tempo
        self._factory = client_factory

    @cached_property
    def _redis(self) -> Any:
        return self._factory(self._access)

    @cached_property
    def _trips(self) -> Trips:
        return Trips(self._redis)

    @contextmanager
    def _doing(self, operation: str) -> Iterator[Any]:
        with translated(self._access, operation):
            yield self._redis

    def _ask(self, operation: str, *commands: Command) -> list[Any]:
        with translated(self._access, operation):
            return self._trips.ask(*commands)

    def close(self) -> None:
        """Closes all connections; they come back when used again."""
        self._trips.close()
        self._redis.close()

    # -- orders and tickets ---------------------------------------------------------------------------------

    def push_orders(self, orders: Sequence[Offer]) -> None:
        if orders:
            self._ask("push_orders", *map(self._push, orders))

    def _push(self, offer: Offer) -> Command:
        tag, identity = offer.tag, offer.identity
        fields = order_job(tag, identity, offer.envelope, self._clock.wall_ms())
        head = (keys.node_queue(tag), keys.job_id(tag, identity), self._tempo.claim_lease_ms / 1000)
        return PUSH.call(*head, keys.hint_channel(tag), *_flat(fields))

    def close_jobs(self, jobs: Sequence[Over]) -> dict[str, str]:
        odd: dict[str, str] = {}
        for start in range(0, len(jobs), CHUNK):
            chunk = jobs[start : start + CHUNK]
            answers = self._ask("close_jobs", *map(self._close, chunk))
            odd |= {one.tag: ODD[said] for one, said in zip(chunk, answers, strict=True) if said in ODD}
        return odd

    def named_jobs(self, tag: str, cursor: int) -> Named:
        queue = keys.node_queue(tag)
        registry = f"rq:wip:{queue}"
        waiting, total, (after, pairs) = self._ask(
            "named_jobs",
            ("LRANGE", QUEUE_KEY + queue, 0, PAGE - 1),
            ("ZCARD", registry),
            ("ZSCAN", registry, cursor, "COUNT", PAGE),
        )
        return Named(_names(waiting), tuple(pairs[::2]), total, int(after))

    def drop_named(self, tag: str, entries: Sequence[bytes]) -> None:
        if entries:
            self._ask("drop_named", ("ZREM", f"rq:wip:{keys.node_queue(tag)}", *entries))

    def _close(self, over: Over) -> Command:
        tag, tempo = over.tag, self._tempo
        head = (keys.node_queue(tag), keys.job_id(tag, over.identity), "finished" if over.ok else "failed")
        kept = (
            iso(self._clock.wall_ms()),
            tempo.keep_closed_s,
            tempo.keep_closed,
            tag,
            CLOSED_CALL,
            over.entry,
        )
        return CLOSE.call(*head, *kept, *_flat(result_entry(over.ok, over.reason)))

    def show_tickets(self, tickets: Iterable[Ticket]) -> None:
        now, words, count = self._clock.wall_ms(), [], 0
        for ticket in tickets:
            fields = _flat(ticket_job(ticket, now))
            words += [ticket.queue, keys.ticket_id(ticket.run, ticket.attempt), len(fields), *fields]
            count += 1
        self._ask("show_tickets", TICKETS.call(POOL_PREFIX, count, *words))

    def queues(self) -> list[QueueView]:
        with self._doing("queues") as client:
            names = sorted(
                name
                for key in client.smembers("rq:queues")
                if (name := key.decode().removeprefix(QUEUE_KEY)).startswith((POOL_PREFIX, NODE_PREFIX))
            )
            with client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.lrange(QUEUE_KEY + name, 0, -1)
                    pipe.zrange(f"rq:wip:{name}", 0, -1)
                found = pipe.execute()
        return [
            QueueView(
                name, _names(found[2 * i]), tuple(job.split(":")[0] for job in _names(found[2 * i + 1]))
            )
            for i, name in enumerate(names)
        ]

    # -- messages -------------------------------------------------------------------------------------------

    def send_controls(self, tag: str, messages: Sequence[tuple[int, str]]) -> None:
        head = ("XADD", keys.down_stream(tag), "MAXLEN", self._tempo.down_cap, "*")
        said = [(*head, "e", envelope, "seq", seq) for seq, envelope in messages]
        self._ask("send_controls", *said, ("PUBLISH", keys.hint_channel(tag), "1"))

    def set_beat(self, tag: str, envelope: str) -> None:
        with self._doing("set_beat") as client, client.pipeline(transaction=False) as both:
            both.set(keys.beat_key(tag), envelope)
            both.publish(keys.hint_channel(tag), "1")
            # RQ's tools find workers by these two sets, which are everybody's: no node may write them.
            both.sadd("rq:workers", worker_key(tag))
            both.sadd(f"rq:workers:{keys.node_queue(tag)}", worker_key(tag))
            both.execute()

    def heartbeats(self, tags: Sequence[str]) -> dict[str, bytes]:
        if not tags:
            return {}
        # A node writes this: what is longer than any heartbeat is cut, and is not believed.
        wanted = [("GETRANGE", keys.heartbeat_key(tag), 0, HEARTBEAT_CAP) for tag in tags]
        found = self._ask("heartbeats", *wanted)
        return {tag: data for tag, data in zip(tags, found, strict=True) if data}

    def read_up(self, tags: Sequence[str], limit: int, wait_ms: int) -> list[UpMessage]:
        if not tags or limit < 1:
            return []
        share = max(1, limit // len(tags))
        found = self._read(dict.fromkeys(tags, "0"), share, _block(wait_ms))
        room = limit - sum(len(messages) for messages in found.values())
        full = {tag: messages[-1].entry for tag, messages in found.items() if len(messages) == share}
        if room > 0 and full:
            for tag, messages in self._read(full, room, None).items():
                found[tag] += messages
        return take_fairly([found.get(tag, []) for tag in tags], limit)

    def _read(self, after: dict[str, str], count: int, block: int | None) -> dict[str, list[UpMessage]]:
        """Up to `count` of each node behind an entry."""
        tags = {keys.up_stream(tag).encode(): tag for tag in after}
        wait = () if block is None else ("BLOCK", block)
        words = ("XREAD", "COUNT", count, *wait, "STREAMS", *tags, *after.values())
        found = self._ask("read_up", words)[0] or ()
        return {tags[name]: [_message(tags[name], *entry) for entry in entries] for name, entries in found}

    def drop_up(self, messages: Sequence[UpMessage]) -> None:
        if not messages:
            return
        by_tag: dict[str, list[str]] = {}
        for message in messages:
            by_tag.setdefault(message.tag, []).append(message.entry)
        self._ask("drop_up", *(("XDEL", keys.up_stream(tag), *one) for tag, one in by_tag.items()))

    # -- nodes ----------------------------------------------------------------------------------------------

    def admit_node(self, tag: str, password: str) -> None:
        with self._doing("admit_node") as client:
            for text in OF_NODES:
                client.script_load(text)
            client.execute_command("ACL", "SETUSER", node_user(tag), *node_rules(tag, password))
            self._save_users(client)

    def expel_node(self, tag: str) -> None:
        named = node_keys(tag)
        with self._doing("expel_node") as client:
            client.execute_command("ACL", "DELUSER", node_user(tag))
            self._save_users(client)
            client.unlink(*named)
            sweep(client, tag)
            with client.pipeline(transaction=False) as pipe:
                pipe.srem("rq:workers", worker_key(tag))
                pipe.srem("rq:queues", QUEUE_KEY + keys.node_queue(tag))
                pipe.execute()

    def used(self) -> int:
        with self._doing("used") as client:
            return int(client.info("memory")["used_memory"])

    def weigh(self) -> dict[str, Kept]:
        with self._doing("weigh") as client:
            return weighed(client)

    def _save_users(self, client: Any) -> None:
        try:
            client.execute_command("ACL", "SAVE")
        except raised.ResponseError as exc:
            # A server that is not ours may keep no file of users; nodes are admitted again at each bring-up.
            if "ACL file" not in str(exc):
                raise


def _block(wait_ms: int) -> int | None:
    """0 would mean for ever."""
    return min(wait_ms, BLOCK_MS) if wait_ms > 0 else None


def _flat(fields: dict[str, str | bytes]) -> list[str | bytes]:
    return [word for pair in fields.items() for word in pair]


def _names(found: list[bytes]) -> tuple[str, ...]:
    return tuple(name.decode("utf-8", "replace") for name in found)


def _message(tag: str, entry: bytes, words: list[bytes] | None) -> UpMessage:
    """Fields come as names and values in turn."""
    fields = dict(zip(words[::2], words[1::2], strict=False)) if words else {}
    return UpMessage(tag, entry.decode(), fields.get(b"e", b""))
