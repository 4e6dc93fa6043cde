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
from node_agent.wire.identity import AttemptId
from node_agent.wire.scripts import OF_NODES
from pancode.adapters.redis_bus import scripts
from pancode.adapters.redis_bus.fair import take_fairly
from pancode.adapters.redis_bus.jobs import CLOSED_CALL, iso, order_job, result_entry, ticket_job
from pancode.adapters.redis_bus.rights import node_keys, node_rules, node_user, worker_key
from pancode.adapters.redis_bus.weighing import sweep, weighed
from pancode.adapters.valkey.access import RedisAccess, connect
from pancode.adapters.valkey.faults import translated
from pancode.domain.quota import Kept
from pancode.ports import QueueView, Ticket, UpMessage

POOL_PREFIX = keys.pool_queue("")
NODE_PREFIX = keys.node_queue("")
QUEUE_KEY = "rq:queue:"
HEARTBEAT_CAP = 256 * 1024
BLOCK_MS = 5_000


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
    def _push(self) -> Any:
        return self._redis.register_script(scripts.PUSH)

    @cached_property
    def _close(self) -> Any:
        return self._redis.register_script(scripts.CLOSE)

    @cached_property
    def _tickets(self) -> Any:
        return self._redis.register_script(scripts.TICKETS)

    @contextmanager
    def _doing(self, operation: str) -> Iterator[Any]:
        with translated(self._access, operation):
            yield self._redis

    def close(self) -> None:
        """Closes all connections; they come back when used again."""
        self._redis.close()

    # -- orders and tickets ---------------------------------------------------------------------------------

    def push_order(self, tag: str, identity: AttemptId, envelope: str) -> None:
        fields = order_job(tag, identity, envelope, self._clock.wall_ms())
        head = [keys.node_queue(tag), keys.job_id(tag, identity), self._tempo.claim_lease_ms / 1000]
        with self._doing("push_order"):
            self._push(args=[*head, keys.hint_channel(tag), *_flat(fields)])

    def close_job(self, tag: str, identity: AttemptId, ok: bool, reason: str) -> None:
        head = [keys.node_queue(tag), keys.job_id(tag, identity), "finished" if ok else "failed"]
        kept = [self._tempo.keep_closed_s, self._tempo.keep_closed, tag, CLOSED_CALL]
        with self._doing("close_job"):
            self._close(args=[*head, iso(self._clock.wall_ms()), *kept, *_flat(result_entry(ok, reason))])

    def show_tickets(self, tickets: Iterable[Ticket]) -> None:
        now, words, count = self._clock.wall_ms(), [], 0
        for ticket in tickets:
            fields = _flat(ticket_job(ticket, now))
            words += [ticket.queue, keys.ticket_id(ticket.run, ticket.attempt), len(fields), *fields]
            count += 1
        with self._doing("show_tickets"):
            self._tickets(args=[POOL_PREFIX, count, *words])

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
        with self._doing("send_controls") as client, client.pipeline(transaction=False) as pipe:
            for seq, envelope in messages:
                entry = {"e": envelope, "seq": seq}
                pipe.xadd(keys.down_stream(tag), entry, maxlen=self._tempo.down_cap, approximate=False)
            pipe.publish(keys.hint_channel(tag), "1")
            pipe.execute()

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
        with self._doing("heartbeats") as client, client.pipeline(transaction=False) as pipe:
            for tag in tags:
                # A node writes this: what is longer than any heartbeat is cut, and is not believed.
                pipe.getrange(keys.heartbeat_key(tag), 0, HEARTBEAT_CAP)
            found = pipe.execute()
        return {tag: data for tag, data in zip(tags, found, strict=True) if data}

    def read_up(self, tags: Sequence[str], limit: int, wait_ms: int) -> list[UpMessage]:
        if not tags or limit < 1:
            return []
        share = max(1, limit // len(tags))
        with self._doing("read_up") as client:
            found = _read(client, dict.fromkeys(tags, "0"), share, _block(wait_ms))
            room = limit - sum(len(messages) for messages in found.values())
            full = {tag: messages[-1].entry for tag, messages in found.items() if len(messages) == share}
            if room > 0 and full:
                for tag, messages in _read(client, full, room, None).items():
                    found[tag] += messages
        return take_fairly([found.get(tag, []) for tag in tags], limit)

    def drop_up(self, messages: Sequence[UpMessage]) -> None:
        if not messages:
            return
        by_tag: dict[str, list[str]] = {}
        for message in messages:
            by_tag.setdefault(message.tag, []).append(message.entry)
        with self._doing("drop_up") as client, client.pipeline(transaction=False) as pipe:
            for tag, entries in by_tag.items():
                pipe.xdel(keys.up_stream(tag), *entries)
            pipe.execute()

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


def _read(client: Any, after: dict[str, str], count: int, block: int | None) -> dict[str, list[UpMessage]]:
    """Up to `count` of each node behind an entry."""
    tags = {keys.up_stream(tag): tag for tag in after}
    found = client.xread({stream: after[tag] for stream, tag in tags.items()}, count=count, block=block)
    return {tags[name.decode()]: _messages(tags[name.decode()], entries) for name, entries in found}


def _messages(tag: str, entries: Iterable[tuple[bytes, dict[bytes, bytes] | None]]) -> list[UpMessage]:
    return [UpMessage(tag, entry.decode(), (fields or {}).get(b"e", b"")) for entry, fields in entries]
