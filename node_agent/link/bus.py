"""The node's end of the bus, on Redis through the node's own tunnel; every trouble is LinkDown.

No command blocks in Redis, and none is sent twice by the library: a claim carries its own id, so that asking
again after a lost answer gives the same job and not a second one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from node_agent.attempt.ports import LinkDown
from node_agent.attempt.uplink import Claimed, News, Sent
from node_agent.link.ear import Ear
from node_agent.link.redisline import Access, Client, Place
from node_agent.link.resp import RedisError, Refused, Words
from node_agent.link.rqworker import (
    KEEP_CLOSED_S,
    NodeWorker,
    PoisonError,
    envelope_of,
    iso,
    result_fields,
)
from node_agent.wire import keys
from node_agent.wire.clock import Clock, Ids
from node_agent.wire.scripts import CLAIM, HEARTBEAT, SETTLE

ANSWER_S = 10.0
CONNECT_S = 5.0
UP_CAP = 20_000
CONTROLS = 500


@dataclass(frozen=True, slots=True)
class UplinkTempo:
    """Seconds; the defaults are what is shipped."""

    answer_s: float = ANSWER_S
    ping_s: float = 5.0


class _Script:
    """A script that the coordinator has loaded; refused until it has (the server was restarted)."""

    def __init__(self, client: Client, text: str) -> None:
        self._client = client
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, args: Words) -> Any:
        return self._client.ask(self.words(args))[0]

    def words(self, args: Words) -> Words:
        """As one of several commands."""
        return ("EVALSHA", self._digest, 0, *args)


@dataclass(frozen=True, slots=True)
class _Line:
    """One place with its client and scripts; replaced as a whole when the link is a new one."""

    place: Place
    client: Client
    claim: _Script
    settle: _Script
    heartbeat: _Script
    worker: NodeWorker


class RedisUplink:
    """Implements `node_agent.attempt.uplink.Uplink`. Safe for several threads, but `hinted` is for one."""

    def __init__(
        self,
        tag: str,
        where: Callable[[], Place | None],
        password: str | Callable[[], str],
        clock: Clock,
        ids: Ids,
        tempo: UplinkTempo = UplinkTempo(),
    ) -> None:
        """`where` is asked at every call: the tunnel's end now, or None while there is no link.

        `password` may be a call, which is made again after the password was refused.
        """
        self._tag = tag
        self._where = where
        self._password = password
        self._clock = clock
        self._ids = ids
        self._tempo = tempo
        self._line: _Line | None = None
        self._lock = threading.Lock()
        self._unanswered: str | None = None
        self._claiming = threading.Lock()
        self._ear = Ear(keys.hint_channel(tag), clock, int(tempo.ping_s * 1000))

    # -- jobs -----------------------------------------------------------------------------------------------

    def claim(self) -> Claimed | None:
        with self._claiming, self._doing() as line:
            return self._claim(line)

    def _claim(self, line: _Line) -> Claimed | None:
        return self._opened(line, line.claim(self._claim_args()))

    def _claim_args(self) -> list[Any]:
        """The id of the claim stays the same until whoever asked has its answer."""
        self._unanswered = self._unanswered or self._ids.token(16)
        return [keys.node_queue(self._tag), self._tag, self._iso(), self._unanswered]

    def _opened(self, line: _Line, found: Any) -> Claimed | None:
        """What was claimed, or what comes after it, when it is not an order."""
        claimed = None
        if found:
            job = found[0].decode("utf-8", "replace")
            try:
                claimed = Claimed(job, envelope_of(*found[1]))
            except PoisonError as exc:
                self._settle(line, job, False, f"not an order: {exc}")
                return self._claim(line)  # by the same id: what is settled is not given again
        self._unanswered = None
        return claimed

    def settle_job(self, job: str, ok: bool, reason: str) -> None:
        with self._doing() as line:
            self._settle(line, job, ok, reason)

    def _settle(self, line: _Line, job: str, ok: bool, reason: str) -> None:
        head = [keys.node_queue(self._tag), self._tag, job, "finished" if ok else "failed"]
        line.settle([*head, self._iso(), KEEP_CLOSED_S, *result_fields(ok, reason)])

    # -- messages -------------------------------------------------------------------------------------------

    def send(self, *envelopes: str) -> None:
        head = ("XADD", keys.up_stream(self._tag), "MAXLEN", "~", UP_CAP, "*", "e")
        with self._doing() as line:
            line.client.ask(*((*head, one) for one in envelopes), ("PUBLISH", keys.UP_HINT, self._tag))

    def set_heartbeat(self, envelope: str) -> None:
        with self._doing() as line:
            line.heartbeat(line.worker.heartbeat_args(envelope))

    def news(self, after: str, claim: bool = False) -> News:
        stream = keys.down_stream(self._tag)
        with self._claiming, self._doing() as line:
            beat, newest, found, *claimed = line.client.ask(
                ("GET", keys.beat_key(self._tag)),
                ("XREVRANGE", stream, "+", "-", "COUNT", 1),
                ("XRANGE", stream, f"({after}", "+", "COUNT", CONTROLS),
                *((line.claim.words(self._claim_args()),) if claim else ()),
            )
            if newest and _order(newest[0][0].decode()) < _order(after):
                # Redis lost its data, and its clock went back: a cursor from before must hide nothing.
                found = line.client.ask(("XRANGE", stream, "-", "+", "COUNT", CONTROLS))[0]
            order = self._opened(line, claimed[0]) if claimed else None
        return News(beat, [_sent(*one) for one in found], order)

    def hinted(self, wait_ms: int) -> bool:
        return self._ear.heard(self._place(), self._access, wait_ms)

    def close(self) -> None:
        """Closes what is open; everything opens again when used."""
        self._ear.close()
        self._drop_line()

    # -- the line -------------------------------------------------------------------------------------------

    @contextmanager
    def _doing(self) -> Iterator[_Line]:
        try:
            yield self._current()
        except RedisError as exc:
            if isinstance(exc, Refused) and exc.is_login:
                self._drop_line()
            raise LinkDown(f"Redis: {str(exc)[:200]}") from exc

    def _current(self) -> _Line:
        place = self._place()
        if place is None:
            raise LinkDown("there is no link")
        with self._lock:
            if self._line is None or self._line.place != place:
                if self._line is not None:
                    self._line.client.close()
                self._line = self._open(place)
            return self._line

    def _drop_line(self) -> None:
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.client.close()

    def _open(self, place: Place) -> _Line:
        client = Client(self._access(place, self._tempo.answer_s))
        claim, settle, heartbeat = (_Script(client, text) for text in (CLAIM, SETTLE, HEARTBEAT))
        return _Line(place, client, claim, settle, heartbeat, NodeWorker(self._tag, self._clock))

    def _access(self, place: Place, answer_s: float) -> Access:
        password = self._password if isinstance(self._password, str) else self._password()
        return Access(place, f"node-{self._tag}", password, min(CONNECT_S, answer_s), answer_s)

    def _place(self) -> Place | None:
        return self._where()

    def _iso(self) -> str:
        return iso(self._clock.wall_ms())


def _sent(entry: bytes, words: list[bytes]) -> Sent:
    """An entry of a stream, whose fields come as names and values in turn."""
    fields = dict(zip(words[::2], words[1::2], strict=False))
    return Sent(entry.decode(), fields.get(b"e", b""))


def _order(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)
