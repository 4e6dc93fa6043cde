"""Opens a redis-py client to the coordinator's Redis: through the tunnel, or by TLS without one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError
from redis.retry import Retry

from node_agent.link.direct import Secure, dial

Place = str | tuple[str, int] | Secure
"""Path of a unix socket, or host and port; or the coordinator by TLS."""


@dataclass(frozen=True, slots=True)
class Access:
    """The login, and the time-outs."""

    place: Place
    user: str
    password: Callable[[], str]
    """Asked at each new connection: a new password counts from the next one on."""
    connect_s: float
    answer_s: float


def connect(access: Access) -> Any:
    """A client with its own pool; opens no connection yet, safe for many threads.

    It never sends a command twice: whoever asks knows what may be repeated. RESP2, because RQ reads replies
    in that shape, and a node's user may not say HELLO after its login.
    """
    pool = redis.ConnectionPool(
        **_reach(access.place),
        credential_provider=_Password(access),
        socket_timeout=access.answer_s,
        socket_connect_timeout=access.connect_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,  # two commands that a node's user may not send
    )
    return redis.Redis.from_pool(pool)


def words(error: RedisError) -> str:
    """The error, with the server's own code, which redis-py removes."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)


def _reach(place: Place) -> dict[str, Any]:
    match place:
        case Secure():
            return {"connection_class": _Direct, "place": place}
        case str():
            return {"connection_class": redis.UnixDomainSocketConnection, "path": place}
        case _:
            return {"host": place[0], "port": place[1]}


class _Password(CredentialProvider):
    def __init__(self, access: Access) -> None:
        self._access = access

    def get_credentials(self) -> tuple[str, str]:
        return self._access.user, self._access.password()


class _Direct(redis.Connection):
    """A connection whose far end is the coordinator's entrance by TLS."""

    def __init__(self, place: Secure, **more: Any) -> None:
        super().__init__(host=place.host, port=place.port, **more)  # type: ignore[no-untyped-call]
        self._place = place

    def _connect(self) -> socket.socket:
        near = dial(self._place, self.socket_connect_timeout or 0)
        near.settimeout(self.socket_timeout)
        return near
