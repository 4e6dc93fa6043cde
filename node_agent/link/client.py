"""Connects to the coordinator's Redis, through the tunnel, and waits there for hints.

A half-open tunnel neither delivers nor fails. redis-py counts unanswered pings but ignores the count, so the
connection for hints is closed if a ping is not answered.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError
from redis.retry import Retry

from node_agent.wire.clock import Clock

Place = str | tuple[str, int]
"""The path of a unix socket, or host and port."""


@dataclass(frozen=True, slots=True)
class Access:
    """The login for Redis, and the time-outs."""

    place: Place
    user: str
    password: Callable[[], str]
    """Called for each new connection, so that new connections use a changed password."""
    connect_s: float
    answer_s: float


def connect(access: Access) -> Any:
    """Return a client with its own pool; opens no connection yet; thread-safe.

    The client never repeats a command, because only the caller knows which may be repeated. It uses RESP2: RQ
    reads replies in that form, and a node's user may not send HELLO after its login.
    """
    pool = redis.ConnectionPool(
        **_reach(access.place),
        credential_provider=_Password(access),
        socket_timeout=access.answer_s,
        socket_connect_timeout=access.connect_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,  # a node's user may not send these two commands
    )
    return redis.Redis.from_pool(pool)


def format_error(error: RedisError) -> str:
    """Return the error's text with the server's error code, which redis-py removes."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)


def _reach(place: Place) -> dict[str, Any]:
    if isinstance(place, str):
        return {"connection_class": redis.UnixDomainSocketConnection, "path": place}
    return {"host": place[0], "port": place[1]}


class _Password(CredentialProvider):
    def __init__(self, access: Access) -> None:
        self._access = access

    def get_credentials(self) -> tuple[str, str]:
        return self._access.user, self._access.password()


AGAIN_MS = 2_000
NO_HINTS_MS = 1_000
"""The longest wait without a subscription: then only the caller's next look finds what has arrived."""


class Hints:
    """A subscription to hints. Never raises. For one thread."""

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
        """Wait for a hint or the timeout; return whether a hint came, or may have come before listening."""
        end = self._clock.mono_ms() + wait_ms
        if access != self._access:
            self.close()
            self._access, self._tried_ms = access, None
        if self._pubsub is None and self._open():
            return True
        while True:
            left = max(0, end - self._clock.mono_ms())
            if self._pubsub is None:
                time.sleep(min(left, NO_HINTS_MS) / 1000)
                return False
            if self._listen(left):
                return True
            if end <= self._clock.mono_ms():
                return False

    def close(self) -> None:
        """End the subscription."""
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
        """Read from the connection once; return whether a hint came. May return before the timeout."""
        try:
            found = self._pubsub.get_message(timeout=min(wait_ms, self._ping_ms) / 1000)
            if found is None:
                now = self._clock.mono_ms()
                if self._asked_ms > self._answered_ms and now - self._asked_ms > self._ping_ms:
                    self.close()
                elif now - max(self._asked_ms, self._answered_ms) >= self._ping_ms:
                    self._asked_ms = now
                    self._pubsub.ping()
                return False
            self._answered_ms = self._clock.mono_ms()
            hinted = False
            while found is not None:  # hints have no content, so one check handles all of them
                hinted = hinted or found["type"] == "message"
                found = self._pubsub.get_message(timeout=0)
            return hinted
        except RedisError:
            self.close()
        return False
