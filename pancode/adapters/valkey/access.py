"""How Redis is reached and as whom, and the client that does so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pancode.errors import ConfigError

COORDINATOR = "coordinator"
CONNECT_S = 5.0
ANSWER_S = 10.0
SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
SOCKET_SCHEMES = ("unix", "redis+unix", "valkey+unix")


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """An address, a user, and where the user of PanCode would change them (`origin`)."""

    origin: str
    socket: str | None = None
    host: str = "127.0.0.1"
    port: int = 6379
    tls: bool = False
    db: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """The address for people; never the password."""
        return self.socket if self.socket is not None else f"{self.host}:{self.port}/{self.db}"

    def probe(self) -> str:
        """The command with which a person can try this address by hand; asks for the password."""
        reach = f"-s {self.socket}" if self.socket is not None else f"-h {self.host} -p {self.port}"
        tls = " --tls" if self.tls else ""
        login = f" --user {self.user or 'default'} --askpass" if self.password is not None else ""
        return f"redis-cli {reach}{tls} -n {self.db}{login} ping"


def access_from_url(url: str, origin: str) -> RedisAccess:
    """Reads `redis://user:password@host:port/db`, `rediss://`, `valkey://`, `unix:///path?db=0`.

    Raises ConfigError, which names `origin` and never repeats the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise _bad_url(origin, str(exc)) from exc
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password is not None else None
    if parts.scheme in SOCKET_SCHEMES:
        path = unquote(parts.path)
        if not path.startswith("/"):
            raise _bad_url(origin, "a socket needs an absolute path")
        db = _number(parts.query.removeprefix("db="), origin)
        return RedisAccess(origin, socket=path, db=db, user=user, password=password)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise _bad_url(origin, f"scheme {parts.scheme!r} with host {parts.hostname!r}")
    return RedisAccess(
        origin,
        host=parts.hostname,
        port=port or 6379,
        tls=SCHEMES[parts.scheme],
        db=_number(parts.path.strip("/"), origin),
        user=user,
        password=password,
    )


def _number(text: str, origin: str) -> int:
    if text and not text.isdecimal():
        raise _bad_url(origin, f"{text!r} is not the number of a database")
    return int(text or 0)


def _bad_url(origin: str, why: str) -> ConfigError:
    return ConfigError(
        f"{origin} is not an address of Redis.",
        why=why,
        fix=f"set {origin} to redis://USER:PASSWORD@HOST:PORT/DB or unix:///PATH; without it we run our own",
    )


def connect(access: RedisAccess, *, answer_s: float = ANSWER_S) -> redis.Redis:
    """A client with its own pool; opens no connection yet, safe for many threads.

    redis-py would send a command again when its answer is lost: a push would be done twice. So it never
    retries; whoever calls decides. RESP2, because RQ and its tools read replies in that shape.
    """
    place: dict[str, object] = (
        {"unix_socket_path": access.socket}
        if access.socket is not None
        else {"host": access.host, "port": access.port, "ssl": access.tls, "socket_keepalive": True}
    )
    client: redis.Redis = redis.Redis(
        **place,  # type: ignore[arg-type]
        db=access.db,
        username=access.user,
        password=access.password,
        socket_timeout=answer_s,
        socket_connect_timeout=min(CONNECT_S, answer_s),
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,  # spares two commands that Redis 7.0 does not know
        redis_connect_func=_spared if access.user == COORDINATOR else None,  # type: ignore[arg-type]
    )
    return client


def _spared(connection: Any) -> None:
    """Our own server cuts connections that hold much when there are too many: never one of ours."""
    connection.on_connect()
    connection.send_command("CLIENT", "NO-EVICT", "ON")
    connection.read_response()
