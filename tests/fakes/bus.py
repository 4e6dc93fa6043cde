"""Both ends of the bus in one process, without Redis: deterministic, no thread, every fault on demand.

`MemoryRedis` is the store; `bus()` gives the coordinator's end and `uplink(tag)` a node's end. The node's end
has the shape of the node agent's own port, which this package may not import: its classes are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from node_agent.wire import keys
from pancode.kernel.errors import UnavailableError
from pancode.kernel.ports import JobToClose, NamedJobs, Offer, QueueView, Ticket, UpMessage
from pancode.kernel.quota import RedisUsage
from pancode.queue.queue import take_fairly
from tests.fakes.store import JobState, MemoryJob, Store
from tests.fakes.weighing import weighed

UP_CAP = 20_000
DOWN_CAP = 1_000
PAGE = 200
CLAIM_LEASE_MS = 30_000


class MemoryLinkDown(Exception):
    """The node port's `LinkDown`, where the caller hands in none."""


class Fault(StrEnum):
    """What goes wrong with one call: lost on the way there, or done and its answer lost."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class MemoryClaimed:
    """The node port's `Claimed`, where the caller hands in none."""

    rq_job: str
    envelope: bytes


@dataclass(frozen=True, slots=True)
class MemorySent:
    """The node port's `Sent`, where the caller hands in none."""

    entry: str
    data: bytes


@dataclass(frozen=True, slots=True)
class MemoryNews:
    """The node port's `News`, where the caller hands in none."""

    heartbeat: bytes | None
    controls: list[Any]
    claimed: Any


@dataclass(frozen=True, slots=True)
class NodeShapes:
    """The node port's own classes: `NodeShapes(LinkDown, Claimed, Sent, News)` of `attempt.ports`."""

    link_down: type[Exception] = MemoryLinkDown
    claimed: Callable[[str, bytes], Any] = MemoryClaimed
    sent: Callable[[str, bytes], Any] = MemorySent
    news: Callable[[bytes | None, list[Any], Any], Any] = MemoryNews


SHAPES = NodeShapes()


def _no_wait(_ms: int) -> None:
    """Time does not pass by waiting: the simulation moves it."""


class MemoryRedis:
    """The store in the middle, with the faults that a simulation wants.

    `now_ms` is the server's clock. `wait(ms)` is called where the real one would wait.
    `down` cuts everybody off; `cut` holds the tags of nodes whose own link is down.
    `fault(operation, tag)` is asked at every call and may let it fail (`tag` is "" where none is meant).
    `carry(stream, tag, data)` is asked for every message put into `up` or `down`, and says what arrives
    instead: nothing (lost), twice (doubled), earlier ones that it had kept back (late, reordered).
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        *,
        wait: Callable[[int], None] = _no_wait,
        claim_lease_ms: int = CLAIM_LEASE_MS,
    ) -> None:
        self.now_ms = now_ms
        self.wait = wait
        self.claim_lease_ms = claim_lease_ms
        self.down = False
        self.cut: set[str] = set()
        self.fault: Callable[[str, str], Fault | None] | None = None
        self.carry: Callable[[str, str, bytes], Iterable[bytes]] | None = None
        self.store = Store()
        self.admitted: dict[str, str] = {}
        self.hints: set[str] = set()
        self._entries = 0

    def bus(self) -> MemoryBus:
        """The coordinator's end."""
        return MemoryBus(self)

    def uplink(self, tag: str, shapes: NodeShapes = SHAPES) -> MemoryUplink:
        """A node's end, for one process of it. Works only while the node is admitted, as its Redis user."""
        return MemoryUplink(self, tag, shapes)

    def wipe(self) -> None:
        """FLUSHALL: everything is forgotten but the users."""
        self.store = Store()

    def job(self, job: str) -> MemoryJob | None:
        """The RQ job as it stands, for assertions."""
        return self.store.jobs.get(job)

    def append(self, stream: str, tag: str, data: bytes) -> None:
        """Put a message into a node's `up` or `down` stream, through `carry`; above the cap the oldest go."""
        streams, cap = (self.store.up, UP_CAP) if stream == "up" else (self.store.down, DOWN_CAP)
        entries = streams.setdefault(tag, [])
        for arriving in (data,) if self.carry is None else tuple(self.carry(stream, tag, data)):
            self._entries += 1
            entries.append(((self.now_ms(), self._entries), arriving))
        del entries[: max(0, len(entries) - cap)]


class _End:
    """What both ends do around each call: fail before it, or after it."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis

    @contextmanager
    def _call(self, operation: str, tag: str) -> Iterator[None]:
        fault = None if self._redis.fault is None else self._redis.fault(operation, tag)
        if self._cut_off() or fault is Fault.BEFORE:
            raise self._failure(operation)
        yield
        if fault is Fault.AFTER:
            raise self._failure(operation)

    def _cut_off(self) -> bool:
        return self._redis.down

    def _failure(self, operation: str) -> Exception:
        return UnavailableError(
            "Redis cannot be used now.", why=f"{operation} got no answer", fix="pancode doctor"
        )


class MemoryBus(_End):
    """The coordinator's port on the memory store."""

    def push_jobs(self, jobs: Sequence[Offer]) -> None:
        for one in jobs:  # each may be the last one that arrives
            with self._call("push_job", one.tag):
                self._push(one)

    def _push(self, one: Offer) -> None:
        store, tag = self._redis.store, one.tag
        job, queue = keys.job_id(tag, one.identity), keys.node_queue(tag)
        waiting = store.queues.setdefault(queue, [])
        if job in waiting:
            store.jobs[job] = MemoryJob(queue, one.envelope)
        elif not self._touched_lately(store.jobs.get(job)):
            store.jobs[job] = MemoryJob(queue, one.envelope)
            waiting.append(job)
        self._redis.hints.add(tag)

    def _touched_lately(self, job: MemoryJob | None) -> bool:
        if job is None or job.at_ms is None:
            return False
        return self._redis.now_ms() - job.at_ms < self._redis.claim_lease_ms

    def close_jobs(self, jobs: Sequence[JobToClose]) -> dict[str, str]:
        for one in jobs:
            with self._call("close_job", one.tag):
                _close(self._redis, keys.job_id(one.tag, one.identity), one.ok, one.reason)
                self._redis.store.named.get(one.tag, set()).discard(one.entry)
        return {one.tag: odd for one in jobs if (odd := self._redis.store.odd.get(one.tag))}

    def named_jobs(self, tag: str, cursor: int) -> NamedJobs:
        with self._call("named_jobs", tag):
            store, queue = self._redis.store, keys.node_queue(tag)
            started = [
                n.encode() for n, j in store.jobs.items() if j.state is JobState.STARTED and j.queue == queue
            ]
            every = [*started, *sorted(store.named.get(tag, ()))]
            after = cursor + PAGE if cursor + PAGE < len(every) else 0
            page = tuple(every[cursor : cursor + PAGE])
            return NamedJobs(tuple(store.queues.get(queue, ())[:PAGE]), page, len(every), after)

    def drop_named(self, tag: str, entries: Sequence[bytes]) -> None:
        with self._call("drop_named", tag):
            self._redis.store.named.get(tag, set()).difference_update(entries)

    def show_tickets(self, tickets: Iterable[Ticket]) -> None:
        with self._call("show_tickets", ""):
            store = self._redis.store
            for name in [name for name in store.queues if name.startswith(keys.pool_queue(""))]:
                del store.queues[name]
            store.tickets = {keys.ticket_id(ticket.run, ticket.attempt): ticket for ticket in tickets}
            for job, ticket in store.tickets.items():
                store.queues.setdefault(ticket.queue, []).append(job)

    def send_controls(self, tag: str, messages: Sequence[tuple[int, str]]) -> None:
        for _, envelope in messages:  # each may be the last one that arrives
            with self._call("send_controls", tag):
                self._redis.append("down", tag, envelope.encode())
                self._redis.hints.add(tag)

    def drop_controls(self, tag: str) -> None:
        with self._call("drop_controls", tag):
            self._redis.store.down.pop(tag, None)

    def set_heartbeats(self, envelopes: Mapping[str, str]) -> None:
        for tag, envelope in envelopes.items():  # each may be the last one that arrives
            with self._call("set_heartbeats", tag):
                self._redis.store.coordinator_heartbeats[tag] = envelope.encode()

    def heartbeats(self, tags: Sequence[str]) -> dict[str, bytes]:
        with self._call("heartbeats", ""):
            return {tag: data for tag in tags if (data := self._redis.store.heartbeats.get(tag)) is not None}

    def read_profile(self, tag: str) -> bytes:
        with self._call("read_profile", tag):
            return self._redis.store.profiles.get(tag, b"")

    def read_up(self, tags: Sequence[str], limit: int, wait_ms: int) -> list[UpMessage]:
        if wait_ms > 0 and not any(self._redis.store.up.get(tag) for tag in tags):
            self._redis.wait(wait_ms)
        with self._call("read_up", ""):
            streams = [
                [UpMessage(tag, _spell(entry), data) for entry, data in self._redis.store.up.get(tag, ())]
                for tag in tags
            ]
            return take_fairly(streams, limit)

    def drop_up(self, messages: Sequence[UpMessage]) -> None:
        with self._call("drop_up", ""):
            gone = {(message.tag, message.entry) for message in messages}
            for tag in {message.tag for message in messages}:
                entries = self._redis.store.up.get(tag, [])
                entries[:] = [item for item in entries if (tag, _spell(item[0])) not in gone]

    def admit_node(self, tag: str, password: str) -> None:
        with self._call("admit_node", tag):
            self._redis.admitted[tag] = password

    def expel_node(self, tag: str) -> None:
        with self._call("expel_node", tag):
            store = self._redis.store
            self._redis.admitted.pop(tag, None)
            for job in [job for job in store.jobs if job.startswith(keys.job_prefix(tag))]:
                del store.jobs[job]
            store.queues.pop(keys.node_queue(tag), None)
            for streams in (store.up, store.down):
                streams.pop(tag, None)
            for values in (
                store.coordinator_heartbeats,
                store.heartbeats,
                store.profiles,
                store.named,
                store.odd,
            ):
                values.pop(tag, None)

    def used(self) -> int:
        with self._call("used", ""):
            return sum(kept.size for kept in self._weighed().values())

    def weigh(self) -> dict[str, RedisUsage]:
        with self._call("weigh", ""):
            return self._weighed()

    def _weighed(self) -> dict[str, RedisUsage]:
        store = self._redis.store
        jobs = [(name, len(job.envelope) + len(job.reason)) for name, job in store.jobs.items()]
        return weighed(store.up, store.heartbeats, jobs)

    def queues(self) -> list[QueueView]:
        with self._call("queues", ""):
            started: dict[str, list[str]] = {}
            for name, job in self._redis.store.jobs.items():
                if job.state is JobState.STARTED:
                    started.setdefault(job.queue, []).append(name)
            waiting = self._redis.store.queues
            return [
                QueueView(name, tuple(waiting.get(name, ())), tuple(started.get(name, ())))
                for name in sorted({*waiting, *started})
            ]


class MemoryUplink(_End):
    """The node's port on the memory store. A new one is a new process of the node: it remembers no claim."""

    def __init__(self, redis: MemoryRedis, tag: str, shapes: NodeShapes) -> None:
        super().__init__(redis)
        self._tag = tag
        self._shapes = shapes
        self._unanswered: object | None = None

    def claim(self) -> Any:
        with self._call("claim", self._tag):
            before, self._unanswered = self._unanswered, self._unanswered or object()
            claimed = self._claimed_before(before) or self._take(self._unanswered)
        self._unanswered = None
        return claimed

    def _claimed_before(self, claim: object | None) -> Any:
        """The answer of a claim that was done but never heard."""
        if claim is None:
            return None
        for name, job in self._redis.store.jobs.items():
            if job.claim is claim and job.state is JobState.STARTED:
                return self._shapes.claimed(name, job.envelope.encode())
        return None

    def _take(self, claim: object) -> Any:
        waiting = self._redis.store.queues.get(keys.node_queue(self._tag), [])
        while waiting:
            name = waiting.pop(0)
            job = self._redis.store.jobs.get(name)
            if job is not None and job.state is JobState.QUEUED:
                job.state, job.at_ms, job.claim = JobState.STARTED, self._redis.now_ms(), claim
                return self._shapes.claimed(name, job.envelope.encode())
        return None

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        with self._call("settle_job", self._tag):
            if job.startswith(keys.job_prefix(self._tag)):
                _close(self._redis, job, ok, reason)

    def send(self, *envelopes: str) -> None:
        for envelope in envelopes:  # each may be the last one that arrives
            with self._call("send", self._tag):
                self._redis.append("up", self._tag, envelope.encode())

    def set_heartbeat(self, envelope: str, profile: str = "") -> None:
        with self._call("set_heartbeat", self._tag):
            if profile:
                self._redis.store.profiles[self._tag] = profile.encode()
            self._redis.store.heartbeats[self._tag] = envelope.encode()

    def news(self, after: str, claim: bool = False) -> Any:
        with self._call("news", self._tag):
            heartbeat = self._redis.store.coordinator_heartbeats.get(self._tag)
            entries, cursor = self._redis.store.down.get(self._tag, []), _parse(after)
            if entries and entries[-1][0] < cursor:
                cursor = (0, 0)  # wiped, and its clock went back: a stale cursor must hide nothing
            sent = [self._shapes.sent(_spell(entry), data) for entry, data in entries if entry > cursor]
        return self._shapes.news(heartbeat, sent, self.claim() if claim else None)

    def wait_for_hint(self, wait_ms: int) -> bool:
        if not self._heard():
            self._redis.wait(wait_ms)
        if not self._heard():
            return False
        self._redis.hints.discard(self._tag)
        return True

    def _heard(self) -> bool:
        return not self._cut_off() and self._tag in self._redis.hints

    def _cut_off(self) -> bool:
        redis = self._redis
        return redis.down or self._tag in redis.cut or self._tag not in redis.admitted

    def _failure(self, operation: str) -> Exception:
        return self._shapes.link_down(f"{operation}: no answer from Redis")


def _close(redis: MemoryRedis, name: str, ok: bool, reason: str) -> None:
    job = redis.store.jobs.get(name)
    if job is None:
        return
    waiting = redis.store.queues.get(job.queue, [])
    waiting[:] = [other for other in waiting if other != name]
    job.state = JobState.FINISHED if ok else JobState.FAILED
    job.at_ms, job.reason, job.claim = redis.now_ms(), reason, None


def _spell(entry: tuple[int, int]) -> str:
    return f"{entry[0]}-{entry[1]}"


def _parse(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)
