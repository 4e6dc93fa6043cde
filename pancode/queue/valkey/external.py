"""Checks whether an external Redis or Valkey can be used: it is reachable, new enough and permits enough."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import redis
from redis import exceptions as raised

from pancode.kernel.errors import UnavailableError
from pancode.queue.valkey.access import CONNECT_S, NOTHING, Beside, RedisAccess, access_from_url, connect
from pancode.queue.valkey.faults import translate_redis_errors

ORIGIN = "PANCODE_REDIS_URL"
OLDEST = {"redis": (7, 0), "valkey": (7, 2)}
_VAGUE = (None, "UNEXPECTED_EOF_WHILE_READING", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION")
NEEDED: tuple[tuple[str, ...], ...] = (
    ("ACL", "SETUSER", "node-0000000000"),
    ("ACL", "DELUSER", "node-0000000000"),
    ("SCRIPT", "LOAD", "return 1"),
    ("EVALSHA", "0", "0"),
    ("HSET", "rq:job:x", "a", "b"),
    ("RPUSH", "rq:queue:x", "a"),
    ("ZADD", "rq:wip:x", "1", "a"),
    ("SADD", "rq:queues", "a"),
    ("SCAN", "0"),
    ("SET", "pancode:beat:x", "a"),
    ("XADD", "pancode:down:x", "*", "e", "a"),
    ("XREAD", "STREAMS", "pancode:up:x", "0"),
    ("PUBLISH", "pancode:hint:x", "1"),
)


@dataclass(frozen=True, slots=True)
class ExternalRedis:
    """An external server that PanCode can use."""

    access: RedisAccess
    product: str
    version: str
    open_as: str = ""
    """The Redis user of a connection without login, which any node could use; empty: such are refused."""
    policy: str = "noeviction"
    """What it does when its memory is full; anything but `noeviction` loses jobs."""
    evicted: int = 0
    """How many keys it has deleted for that reason."""


def check_external(url: str, origin: str = ORIGIN, beside: Beside = NOTHING) -> ExternalRedis:
    """Parse the address and check the server. ConfigError for a bad address or file; UnavailableError."""
    return check_access(access_from_url(url, origin, beside))


def check_access(access: RedisAccess) -> ExternalRedis:
    """Check a server. UnavailableError if it cannot be used."""
    with closing(connect(access)) as client:
        with translate_redis_errors(access, "INFO"), _raise_clearer(access):
            product, version = _read_version(client)
            memory, stats = client.info("memory"), client.info("stats")
            if int(client.info("cluster").get("cluster_enabled", 0)):
                raise raised.ClusterDownError("cluster_enabled is 1")
            if client.info("replication").get("role") == "slave":
                raise raised.ReadOnlyError("its role is replica")
        if tuple(int(part) for part in version.split(".") if part.isdecimal()) < OLDEST[product]:
            oldest = ".".join(map(str, OLDEST[product]))
            raise UnavailableError(
                f"{product.title()} {version} is too old",
                why=(
                    f"{access.place} reports this version; node permissions require {product} {oldest} or "
                    "newer"
                ),
                fix=f"upgrade the server, or remove {access.origin} to use PanCode's own server",
            )
        _check_rights(client, access)
    policy = str(memory.get("maxmemory_policy", "noeviction")) if memory.get("maxmemory") else "noeviction"
    evicted = int(stats.get("evicted_keys", 0))
    return ExternalRedis(access, product, version, _open_as(access), policy, evicted)


def _open_as(access: RedisAccess) -> str:
    """Return the Redis user of a connection without a login, as a node could open it; empty: refused."""
    stranger = replace(access, user=None, password=None, beside=Beside(access.beside.files))
    with closing(connect(stranger)) as client:
        try:
            return _text(client.acl_whoami())
        except (raised.RedisError, OSError):
            return ""


@contextmanager
def _raise_clearer(access: RedisAccess) -> Iterator[None]:
    """If the connection fails, try TLS 1.2 and raise its clearer error. In TLS 1.3 a server refuses a client
    certificate after the handshake, so its reason may be lost; in TLS 1.2 it is part of the handshake."""
    try:
        yield
    except raised.ConnectionError:
        if access.tls:
            _try_handshake(access)
        raise


def _try_handshake(access: RedisAccess) -> None:
    context = access.beside.files.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        with socket.create_connection((access.host, access.port), CONNECT_S) as plain:
            context.wrap_socket(plain, server_hostname=access.host).close()
    except ssl.SSLError as exc:
        if exc.reason in _VAGUE:
            return
        raise raised.ConnectionError(str(exc)) from exc
    except OSError:
        return


def _read_version(client: redis.Redis) -> tuple[str, str]:
    info = client.info("server")
    if "valkey_version" in info:
        return "valkey", str(info["valkey_version"])
    return "redis", str(info["redis_version"])


def _check_rights(client: redis.Redis, access: RedisAccess) -> None:
    """Raise UnavailableError if the server would refuse a command that PanCode needs; nothing is changed."""
    with translate_redis_errors(access, "ACL"):
        try:
            refused = [(words, text) for words, text in _dry_run(client) if text != "OK"]
        except (raised.NoPermissionError, raised.ResponseError) as exc:
            raise UnavailableError(
                "the Redis user cannot create users for nodes",
                why=f"ACL at {access.place}: {exc}",
                fix=f"{access.rights()}; or unset {access.origin} to use PanCode's own server",
            ) from exc
    if refused:
        words, text = refused[0]
        raise UnavailableError(
            "the Redis user lacks permissions",
            why=f"{access.place} refuses {' '.join(words)}: {text} ({len(refused)} of {len(NEEDED)} refused)",
            fix=access.rights(),
        )


def _dry_run(client: redis.Redis) -> list[tuple[tuple[str, ...], str]]:
    """Return the commands that PanCode needs, each with the server's answer to a dry run of it."""
    run: Callable[..., object] = client.execute_command
    me = _text(client.acl_whoami())
    return [(words, _text(run("ACL", "DRYRUN", me, *words))) for words in NEEDED]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
