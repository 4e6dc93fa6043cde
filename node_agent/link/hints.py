"""Listens for hints on a connection of its own, and notices when that connection is dead.

A half-open tunnel neither delivers nor fails: redis-py counts pings without an answer, and does nothing about
them. Without an answer to a ping the connection is given up.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from redis.exceptions import RedisError

from node_agent.link.client import Access, connect
from node_agent.wire.clock import Clock

AGAIN_MS = 2_000


class Hints:
    """One subscription; never raises. For one thread."""

    def __init__(self, channel: str, clock: Clock, ping_ms: int) -> None:
        self._channel = channel
        self._clock = clock
        self._ping_ms = ping_ms
        self._access: Access | None = None
        self._pubsub: Any = None
        self._tried_ms: int | None = None
        self._answered_ms = 0
        self._asked_ms = 0

    def heard(self, access: Access | None, wait_ms: int) -> bool:
        """Waits for a hint or the time. True also when it just began to listen: it may have missed one."""
        end = self._clock.mono_ms() + wait_ms
        if access != self._access:
            self.close()
            self._access, self._tried_ms = access, None
        if self._pubsub is None and self._open():
            return True
        while True:
            left = max(0, end - self._clock.mono_ms())
            if self._pubsub is None:
                time.sleep(left / 1000)
                return False
            if self._listen(left):
                return True
            if end <= self._clock.mono_ms():
                return False

    def close(self) -> None:
        """Ends the subscription."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(RedisError, OSError):
                pubsub.close()
                pubsub.connection_pool.disconnect()

    def _open(self) -> bool:
        now = self._clock.mono_ms()
        if self._access is None or (self._tried_ms is not None and now - self._tried_ms < AGAIN_MS):
            return False
        self._tried_ms = now
        self._pubsub = connect(self._access).pubsub()
        try:
            self._pubsub.subscribe(self._channel)
        except RedisError:
            self.close()
            return False
        self._answered_ms = self._asked_ms = self._clock.mono_ms()
        return True

    def _listen(self, wait_ms: int) -> bool:
        """One look at the connection, which may find nothing before the time is over."""
        try:
            found = self._pubsub.get_message(timeout=min(wait_ms, self._ping_ms) / 1000)
            if found is None:
                self._keep_alive(self._clock.mono_ms())
                return False
            self._answered_ms = self._clock.mono_ms()
            hinted = False
            while found is not None:  # hints only say that there is something: one look answers all of them
                hinted = hinted or found["type"] == "message"
                found = self._pubsub.get_message(timeout=0)
            return hinted
        except RedisError:
            self.close()
        return False

    def _keep_alive(self, now: int) -> None:
        if self._asked_ms > self._answered_ms and now - self._asked_ms > self._ping_ms:
            self.close()
        elif now - max(self._asked_ms, self._answered_ms) >= self._ping_ms:
            self._asked_ms = now
            self._pubsub.ping()
