"""The address and user of Redis, the authorities trusted for TLS, and the client that connects to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis import exceptions as raised
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry

from pancode.kernel.errors import ConfigError
from pancode.queue.valkey.layout import COORDINATOR


def make_context(ca: str | Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts only the authorities in `ca`; None: the machine's. OSError, SSLError.

    It is less strict than RFC 5280, which Python enforces from 3.13 on: a certificate of `openssl req -x509`
    does not fully comply, though curl, libpq and Python 3.12 trust it.
    """
    made = ssl.create_default_context(cafile=ca)
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return made


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for TLS. `ca` None: the system's authorities; else only this one. `key` may be in `cert`."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a TLS context, made from the files at each call, so a renewed certificate applies next time.
        The server's name and chain are always checked. OSError or ssl.SSLError for unusable files."""
        made = make_context(self.ca)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert is not None:
            # An empty password prevents OpenSSL's prompt for one on a terminal.
            made.load_cert_chain(self.cert, self.key, password="")
        return made

    def check(self, origin: str) -> None:
        """Raise ConfigError, with the file's name, for an unusable file. `origin`: the address's setting."""
        for path in (self.ca, self.cert, self.key):
            if path is not None:
                _read_pem(path, origin)
        try:
            TlsFiles(ca=self.ca).context()
        except (OSError, ssl.SSLError) as exc:
            look = f"openssl x509 -in {self.ca}"
            raise _make_file_error(str(self.ca), "contains no certificate", exc, look) from exc
        try:
            self.context()
        except (OSError, ssl.SSLError) as exc:
            both = " and ".join(str(path) for path in (self.cert, self.key) if path is not None)
            key = f"openssl pkey -noout -in {self.key or self.cert}"
            fix = f"openssl x509 -noout -subject -in {self.cert}; {key}"
            raise _make_file_error(
                both, "are not a certificate with its own, unencrypted key", exc, fix
            ) from exc

    def words(self) -> str:
        """Return the TLS options for `redis-cli`."""
        named = (("--cacert", self.ca), ("--cert", self.cert), ("--key", self.key or self.cert))
        return "".join(f" {name} {path}" for name, path in named if path is not None)


def _read_pem(path: Path, origin: str) -> None:
    try:
        path.read_bytes()
    except OSError as exc:
        fix = f"correct the path next to {origin}, or make the file readable; check: ls -l {path}"
        raise ConfigError(f"cannot read {path} for TLS to Redis", why=str(exc), fix=fix) from exc


def _make_file_error(what: str, wrong: str, exc: Exception, command: str) -> ConfigError:
    return ConfigError(f"{what} {wrong}, for TLS to Redis", why=str(exc), fix=f"check it: {command}")


CONNECT_S = 5.0
ANSWER_S = 10.0
SILENT = "no answer to the TLS ClientHello"
SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
SOCKET_SCHEMES = ("unix", "redis+unix", "valkey+unix")


@dataclass(frozen=True, slots=True)
class Beside:
    """Settings that accompany the Redis address, all paths of files that are read at each new connection."""

    files: TlsFiles = TlsFiles()
    password_file: Path | None = None

    @classmethod
    def of(
        cls, password_file: str | None, ca_file: str | None, cert_file: str | None, key_file: str | None
    ) -> Beside:
        """Return these settings from the paths as written; `~` is the coordinator's home directory."""
        named = ca_file, cert_file, key_file, password_file
        ca, cert, key, password = (Path(text).expanduser() if text else None for text in named)
        return cls(TlsFiles(ca, cert, key), password)


NOTHING = Beside()


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """An address and a user of Redis; `origin`: the setting that contains the address."""

    origin: str
    socket: str | None = None
    host: str = "127.0.0.1"
    port: int = 6379
    tls: bool = False
    db: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    beside: Beside = NOTHING

    @property
    def place(self) -> str:
        """Return the address for display, without the password."""
        return self.socket if self.socket is not None else f"{self.host}:{self.port}/{self.db}"

    def probe(self, command: str = "ping") -> str:
        """Return the shell command with which a user can test this address; it prompts for the password."""
        reach = f"-s {self.socket}" if self.socket is not None else f"-h {self.host} -p {self.port}"
        tls = f" --tls{self.beside.files.words()}" if self.tls else ""
        has_password = self.password is not None or self.beside.password_file is not None
        login = f" --user {self.user or 'default'} --askpass" if has_password else ""
        return f"redis-cli {reach}{tls} -n {self.db}{login} {command}"

    def rights(self) -> str:
        """Return the rights that PanCode's Redis user needs, and the command that lists its rights."""
        seen = self.probe(f"acl getuser {self.user or 'default'}")
        return f"give the Redis user of {self.origin} the rights +@all ~* &*; its current rights: {seen}"

    def secret(self) -> str | None:
        """Return the current password; NoPasswordError if its file cannot be read."""
        if self.beside.password_file is None:
            return self.password
        try:
            return self.beside.password_file.read_text().rstrip("\r\n")
        except (OSError, ValueError) as exc:
            raise NoPasswordError(str(exc)) from exc


class NoPasswordError(raised.AuthenticationError):
    """Raised if the file with the Redis password cannot be read."""


def access_from_url(url: str, origin: str, beside: Beside = NOTHING) -> RedisAccess:
    """Parse `redis://user:password@host:port/db`, `rediss://`, `valkey://`, `unix:///path?db=0`. ConfigError
    names `origin` and never repeats the password."""
    access = _read(url, origin, beside)
    if access.password is not None and beside.password_file is not None:
        raise ConfigError(
            f"{origin} contains a password, but redis.password_file is also set",
            fix="remove one of them; the password in the file can be changed while PanCode runs",
        )
    if not access.tls and beside.files != TlsFiles():
        raise ConfigError(
            f"{origin} does not use TLS, but certificates are set",
            why="connections with redis:// and unix:// are not encrypted",
            fix=f"set {origin} to rediss://, or remove redis.ca_file, cert_file and key_file",
        )
    if access.tls:
        beside.files.check(origin)
    return access


def _read(url: str, origin: str, beside: Beside) -> RedisAccess:
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
            raise _bad_url(origin, "unix:// requires an absolute path")
        db = _parse_number(parts.query.removeprefix("db="), origin)
        return RedisAccess(origin, socket=path, db=db, user=user, password=password, beside=beside)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise _bad_url(origin, f"scheme {parts.scheme!r} with host {parts.hostname!r} is not supported")
    return RedisAccess(
        origin,
        host=parts.hostname,
        port=port or 6379,
        tls=SCHEMES[parts.scheme],
        db=_parse_number(parts.path.strip("/"), origin),
        user=user,
        password=password,
        beside=beside,
    )


def _parse_number(text: str, origin: str) -> int:
    if text and not text.isdecimal():
        raise _bad_url(origin, f"{text!r} is not a database number")
    return int(text or 0)


def _bad_url(origin: str, why: str) -> ConfigError:
    return ConfigError(
        f"{origin} is not a Redis address",
        why=why,
        fix=(
            f"set {origin} to redis://USER@HOST:PORT, rediss://... or unix:///PATH; or unset it to "
            "use PanCode's own server"
        ),
    )


def connect(access: RedisAccess, *, answer_s: float = ANSWER_S) -> redis.Redis:
    """Return a thread-safe client with its own pool; no connection is opened yet.

    redis-py would repeat a command whose answer is lost, so a push could happen twice. So the client never
    retries; the caller decides. It uses RESP2, because RQ and its tools read replies in that form.
    """
    pool = redis.ConnectionPool(
        **_place(access),
        **_login(access),
        db=access.db,
        socket_timeout=answer_s,
        socket_connect_timeout=min(CONNECT_S, answer_s),
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,  # This avoids two commands that Redis 7.0 does not have.
        redis_connect_func=_spare_connection if access.user == COORDINATOR else None,
    )
    client: redis.Redis = redis.Redis.from_pool(pool)
    return client


def _place(access: RedisAccess) -> dict[str, Any]:
    if access.socket is not None:
        return {"connection_class": redis.UnixDomainSocketConnection, "path": access.socket}
    reach = {"host": access.host, "port": access.port, "socket_keepalive": True}
    if access.tls:
        return {**reach, "connection_class": _TlsConnection, "ours": access.beside.files}
    return reach


def _login(access: RedisAccess) -> dict[str, Any]:
    if access.beside.password_file is not None:
        return {"credential_provider": _FromFile(access)}
    return {"username": access.user, "password": access.password}


class _FromFile(CredentialProvider):
    """Reads the password at each new connection, so that a changed password applies to the next one."""

    def __init__(self, access: RedisAccess) -> None:
        self._access = access

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        secret = self._access.secret() or ""
        return (secret,) if self._access.user is None else (self._access.user, secret)


class _TlsConnection(redis.SSLConnection):
    """A TLS connection with PanCode's own context, which reads the certificate files at each connection."""

    def __init__(self, ours: TlsFiles, **more: Any) -> None:
        super().__init__(**more)
        self._ours = ours

    def _wrap_socket_with_ssl(self, sock: Any) -> ssl.SSLSocket:
        sock.settimeout(self.socket_connect_timeout)
        try:
            made = self._ours.context().wrap_socket(sock, server_hostname=self.host)
        # A Redis without TLS takes the ClientHello for an incomplete command, and waits for the rest.
        except TimeoutError as exc:
            raise ssl.SSLError(SILENT) from exc
        made.settimeout(self.socket_timeout)
        return made


def _spare_connection(connection: Any) -> None:
    """Exempt PanCode's connection from eviction, in which the server closes those with large buffers."""
    connection.on_connect()
    connection.send_command("CLIENT", "NO-EVICT", "ON")
    connection.read_response()
