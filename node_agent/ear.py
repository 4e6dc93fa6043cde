"""Listens for hints on a connection of its own, and notices when that connection has gone deaf.

A half-open tunnel neither delivers nor fails: without an answer to a ping the connection is given up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from redis import exceptions as raised

from node_agent.wire.clock import Clock

OPEN_S = 2.0
"""How long opening may take: whoever waits for a hint is not held up longer."""
AGAIN_MS = 2_000

Place = str | tuple[str, int]


class Ear:
    """One subscription; never raises. For one thread."""

    def __init__(self, channel: str, clock: Clock, ping_ms: int) -> None:
        self._channel = channel
        self._clock = clock
        self._ping_ms = ping_ms
        self._place: Place | None = None
        self._client: Any = None
        self._pubsub: Any = None
        self._tried_ms: int | None = None
        self._answered_ms = 0
        self._asked_ms = 0

    def heard(self, place: Place | None, client: Callable[[Place, float], Any], wait_ms: int) -> bool:
        """Waits for a hint or the time. True also when it just began to listen: it may have missed one."""
        end = self._clock.mono_ms() + wait_ms
        if place != self._place:
            self.close()
            self._place, self._tried_ms = place, None
        if self._pubsub is None and self._open(place, client):
            return True
        while True:
            left = end - self._clock.mono_ms()
            if self._pubsub is None:
                time.sleep(max(0, left) / 1000)
                return False
            if self._listen(max(0, left)):
                return True
            if end <= self._clock.mono_ms():
                return False

    def close(self) -> None:
        """Ends the subscription."""
        pubsub, client, self._pubsub, self._client = self._pubsub, self._client, None, None
        with contextlib.suppress(raised.RedisError, OSError):
            if pubsub is not None:
                pubsub.close()
            if client is not None:
                client.close()

    def _open(self, place: Place | None, client: Callable[[Place, float], Any]) -> bool:
        now = self._clock.mono_ms()
        if place is None or (self._tried_ms is not None and now - self._tried_ms < AGAIN_MS):
            return False
        self._tried_ms = now
        self._client = client(place, OPEN_S)
        self._pubsub = self._client.pubsub()
        try:
            self._pubsub.subscribe(self._channel)
        except (raised.RedisError, OSError):
            self.close()
            return False
        self._answered_ms = self._asked_ms = self._clock.mono_ms()
        return True

    def _listen(self, wait_ms: int) -> bool:
        """One look at the connection, which may find nothing before the time is over."""
        try:
            message = self._pubsub.get_message(timeout=min(wait_ms, self._ping_ms) / 1000)
            now = self._clock.mono_ms()
            if message is not None:
                self._answered_ms = now
                heard = bool(message["type"] == "message")
                more = heard  # hints only say that there is something: one look answers all of them
                while more:
                    more = self._pubsub.get_message(timeout=0) is not None
                return heard
            self._keep_alive(now)
        except (raised.RedisError, OSError, ValueError):
            self.close()
        return False

    def _keep_alive(self, now: int) -> None:
        if self._asked_ms > self._answered_ms and now - self._asked_ms > self._ping_ms:
            self.close()
        elif now - max(self._asked_ms, self._answered_ms) >= self._ping_ms:
            self._asked_ms = now
            self._pubsub.ping()
