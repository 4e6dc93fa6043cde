"""Listens for hints on a connection of its own, and notices when that connection has gone deaf.

A half-open tunnel neither delivers nor fails: without an answer to a ping the connection is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from node_agent.link.redisline import Access, Place, Subscription
from node_agent.link.resp import RedisError
from node_agent.wire.clock import Clock

OPEN_S = 2.0
"""How long opening may take: whoever waits for a hint is not held up longer."""
AGAIN_MS = 2_000


class Ear:
    """One subscription; never raises. For one thread."""

    def __init__(self, channel: str, clock: Clock, ping_ms: int) -> None:
        self._channel = channel
        self._clock = clock
        self._ping_ms = ping_ms
        self._place: Place | None = None
        self._heard: Subscription | None = None
        self._tried_ms: int | None = None
        self._answered_ms = 0
        self._asked_ms = 0

    def heard(self, place: Place | None, access: Callable[[Place, float], Access], wait_ms: int) -> bool:
        """Waits for a hint or the time. True also when it just began to listen: it may have missed one."""
        end = self._clock.mono_ms() + wait_ms
        if place != self._place:
            self.close()
            self._place, self._tried_ms = place, None
        if self._heard is None and self._open(place, access):
            return True
        while True:
            left = end - self._clock.mono_ms()
            if self._heard is None:
                time.sleep(max(0, left) / 1000)
                return False
            if self._listen(self._heard, max(0, left)):
                return True
            if end <= self._clock.mono_ms():
                return False

    def close(self) -> None:
        """Ends the subscription."""
        heard, self._heard = self._heard, None
        if heard is not None:
            heard.close()

    def _open(self, place: Place | None, access: Callable[[Place, float], Access]) -> bool:
        now = self._clock.mono_ms()
        if place is None or (self._tried_ms is not None and now - self._tried_ms < AGAIN_MS):
            return False
        self._tried_ms = now
        try:
            self._heard = Subscription(access(place, OPEN_S), self._channel)
        except RedisError:
            return False
        self._answered_ms = self._asked_ms = self._clock.mono_ms()
        return True

    def _listen(self, heard: Subscription, wait_ms: int) -> bool:
        """One look at the connection, which may find nothing before the time is over."""
        try:
            kind = heard.next(min(wait_ms, self._ping_ms) / 1000)
            now = self._clock.mono_ms()
            if kind is None:
                self._keep_alive(heard, now)
                return False
            self._answered_ms = now
            more = hinted = kind == b"message"
            while more:  # hints only say that there is something: one look answers all of them
                more = heard.next(0) is not None
            return hinted
        except RedisError:
            self.close()
        return False

    def _keep_alive(self, heard: Subscription, now: int) -> None:
        if self._asked_ms > self._answered_ms and now - self._asked_ms > self._ping_ms:
            self.close()
        elif now - max(self._asked_ms, self._answered_ms) >= self._ping_ms:
            self._asked_ms = now
            heard.ping()
