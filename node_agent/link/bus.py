"""The node's access to Redis, through its own tunnel; every failure is LinkDown.

No command blocks in Redis, and the library repeats no command. A claim that is repeated after a lost answer
returns the same job, not a second one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from node_agent.attempt.ports import Claimed, LinkDown, News, Sent
from node_agent.link.client import Access, Hints, Place, connect, format_error
from node_agent.link.worker import NodeWorker
from node_agent.wire import keys
from node_agent.wire.clock import Clock
from node_agent.wire.packing import pack

ANSWER_S = 10.0
CONNECT_S = 5.0
HINT_S = 2.0
"""The maximum time to open the subscription, and so the maximum delay of a caller that waits for a hint."""
REGISTER_MS, LOSS_CHECK_MS = 20_000, 30_000
"""The intervals for writing the registration again, and for looking whether Redis has lost its data."""
UP_CAP = 20_000
CONTROLS = 500


@dataclass(frozen=True, slots=True)
class UplinkIntervals:
    """The uplink's time-outs in seconds, with their default values."""

    answer_s: float = ANSWER_S
    ping_s: float = 15.0


class Due:
    """Decides when something that is repeated at an interval is due; at first, and after `reset`, at once."""

    def __init__(self, clock: Clock, every_ms: int) -> None:
        self._clock, self._every_ms, self._at_ms = clock, every_ms, 0

    def is_due(self) -> bool:
        return self._clock.mono_ms() >= self._at_ms

    def done(self) -> None:
        self._at_ms = self._clock.mono_ms() + self._every_ms

    def reset(self) -> None:
        self._at_ms = 0


@dataclass(frozen=True, slots=True)
class _Line:
    """One Redis address with its client; replaced as a whole when the link changes."""

    place: Place
    client: Any
    worker: NodeWorker
    registration: Due
    """When the worker's registration is written again, which RQ forgets after a minute."""
    loss_check: Due
    """When the node looks again whether Redis has lost its data."""


class RedisUplink:
    """Implements `node_agent.attempt.ports.Uplink`. Safe for several threads; `wait_for_hint` for one."""

    def __init__(
        self,
        tag: str,
        where: Callable[[], Place | None],
        password: Callable[[], str],
        clock: Clock,
        intervals: UplinkIntervals = UplinkIntervals(),
    ) -> None:
        """`where` is called for each operation; it returns the tunnel's end, or None while there is no link.
        `password` is called for each new connection."""
        self._tag = tag
        self._where = where
        self._password = password
        self._intervals = intervals
        self._clock = clock
        self._line: _Line | None = None
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        self._hints = Hints(keys.hint_channel(tag), clock, int(intervals.ping_s * 1000))

    # -- jobs -----------------------------------------------------------------------------------------------

    def claim(self) -> Claimed | None:
        with self._claiming, self._use_line() as line:
            return _read_claimed(line)

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        with self._use_line() as line:
            line.registration.reset()
            line.worker.settle(job, ok, reason)

    # -- messages -------------------------------------------------------------------------------------------

    def send(self, *envelopes: str) -> None:
        with self._use_line() as line, line.client.pipeline() as pipe:
            for one in envelopes:
                pipe.xadd(keys.up_stream(self._tag), {"e": one}, maxlen=UP_CAP)
            pipe.publish(keys.UP_HINT, self._tag)
            pipe.execute()

    def set_heartbeat(self, envelope: str, profile: str = "") -> None:
        with self._use_line() as line, line.client.pipeline(transaction=False) as pipe:
            if profile:  # before the heartbeat that names it
                pipe.set(keys.profile_key(self._tag), profile)
            pipe.set(keys.heartbeat_key(self._tag), pack(envelope.encode()))
            is_due = line.registration.is_due()
            if is_due:
                line.worker.show(pipe)
            pipe.execute()
            if is_due:
                line.registration.done()

    def news(self, after: str, claim: bool = False) -> News:
        stream = keys.down_stream(self._tag)
        with self._claiming, self._use_line() as line:
            is_due = line.loss_check.is_due()
            with line.client.pipeline(transaction=False) as pipe:
                pipe.get(keys.coordinator_heartbeat_key(self._tag))
                pipe.xrange(stream, f"({after}", count=CONTROLS)
                pipe.llen(line.worker.queue.key)
                if is_due:
                    pipe.xrevrange(stream, count=1)
                heartbeat, found, waiting, *newest_found = pipe.execute()
            newest = newest_found[0] if newest_found else None
            if is_due:
                line.loss_check.done()
            if newest and _order(newest[0][0].decode()) < _order(after):
                # Redis lost its data and its clock went back, so ignore the cursor, which would hide new
                # messages
                found = line.client.xrange(stream, count=CONTROLS)
            job = _read_claimed(line) if claim and (waiting or line.worker.unsure) else None
        return News(heartbeat, [Sent(entry.decode(), fields.get(b"e", b"")) for entry, fields in found], job)

    def wait_for_hint(self, wait_ms: int) -> bool:
        place = self._where()
        return self._hints.heard(None if place is None else self._make_access(place, HINT_S), wait_ms)

    def close(self) -> None:
        """Close all connections; each of them is reopened when it is used."""
        self._hints.close()
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.client.connection_pool.disconnect()

    # -- the line -------------------------------------------------------------------------------------------

    @contextmanager
    def _use_line(self) -> Iterator[_Line]:
        try:
            yield self._require_line()
        except RedisError as exc:
            raise LinkDown(f"Redis: {format_error(exc)[:200]}") from exc

    def _require_line(self) -> _Line:
        place = self._where()
        if place is None:
            raise LinkDown("there is no link to the coordinator")
        with self._lock:
            if self._line is None or self._line.place != place:
                before = None
                if self._line is not None:
                    before = self._line.worker
                    self._line.client.connection_pool.disconnect()
                client = connect(self._make_access(place, self._intervals.answer_s))
                worker = NodeWorker(self._tag, client, before)
                registration, loss_check = Due(self._clock, REGISTER_MS), Due(self._clock, LOSS_CHECK_MS)
                self._line = _Line(place, client, worker, registration, loss_check)
            return self._line

    def _make_access(self, place: Place, answer_s: float) -> Access:
        return Access(place, f"node-{self._tag}", self._password, min(CONNECT_S, answer_s), answer_s)


def _read_claimed(line: _Line) -> Claimed | None:
    found = line.worker.claim()
    if found is not None:
        line.registration.reset()
    return None if found is None else Claimed(*found)


def _order(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)
