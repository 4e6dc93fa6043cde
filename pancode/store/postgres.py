"""PostgreSQL as the ledger's place: the server's address, and a session with the exclusive right to write."""

from __future__ import annotations

import os
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from pancode.kernel.errors import ConfigError, UnavailableError
from pancode.kernel.formatting import pip_install

ORIGIN = "PANCODE_DATABASE_URL"
OLDEST = 13
LOCK = (0x50616E43, 0x6F6465)
"""The two numbers of the advisory lock that makes a session the only writer."""
CONNECT_S = 5
_NAME_CHARS = 63
_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_HOLDER = """
SELECT a.pid, a.application_name, host(a.client_addr) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class Database:
    """A parsed address. `origin`: the variable, or the file and line, where the address was set."""

    url: URL
    origin: str = ORIGIN
    password_file: Path | None = None

    @property
    def place(self) -> str:
        """Return the address for `psql` and for users, without a password."""
        return self.url.set(drivername="postgresql", password=None).render_as_string()

    def probe(self, command: str = "select 1", database: str | None = None) -> str:
        """Return the `psql` command line that tests this address, or that runs `command` in `database`."""
        place = self.place if database is None else Database(self.url.set(database=database)).place
        return f"psql {shlex.quote(place)} -c {shlex.quote(command)}"

    def by_administrator(self, command: str) -> str:
        """Return the `psql` command line with which an administrator does what our database user may not."""
        other = self.url.set(database="postgres", username="postgres")
        return (
            f"as the database administrator: psql {shlex.quote(Database(other).place)} -c "
            f"{shlex.quote(command)}"
        )

    def without_secret(self, text: str) -> str:
        """Return the text of a driver's error as one line, without the password."""
        secret = self.url.password or self._read_password()
        shown = text.replace(str(secret), "***") if secret else text
        return " ".join(shown.split())[:400]

    def secret(self) -> str | None:
        """Return the file's password; None: no file is set, so libpq finds it. ConfigError if unreadable."""
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text().rstrip("\r\n")
        except (OSError, ValueError) as exc:
            raise ConfigError(
                f"cannot read the PostgreSQL password of the ledger from {self.password_file}",
                why=str(exc),
                fix=f"make it readable (check: ls -l {self.password_file}), or correct ledger.password_file",
                code="ledger_password",
            ) from exc

    def _read_password(self) -> str | None:
        try:
            return self.secret()
        except ConfigError:
            return None


def database_of(text: str, origin: str = ORIGIN, password_file: str | None = None) -> Database:
    """Parse an address. ConfigError if it is not a PostgreSQL database's or the driver is missing."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as exc:
        raise _no_address(origin, "the address cannot be parsed") from exc
    if url.drivername not in ("postgresql", "postgres"):
        raise _no_address(origin, f"{url.drivername} is another kind of server")
    if {"password", "sslpassword"} & set(url.query):
        raise _no_address(origin, "a password must not be in the part after the question mark")
    if not url.database:
        raise _no_address(origin, "the address does not name a database")
    secret = Path(password_file).expanduser() if password_file else None
    if secret is not None and url.password is not None:
        raise ConfigError(
            f"{origin} contains a password, but ledger.password_file is also set",
            fix="remove the password from the address: the one in the file can be changed while PanCode runs",
            code="ledger_url",
        )
    return Database(url.set(drivername="postgresql+psycopg"), origin, secret)


def engine_of(database: Database, busy_ms: int, sole: bool) -> Engine:
    """Return an engine with one connection. `sole`: each session must first get the sole right to write."""
    ours = {"connect_timeout": CONNECT_S, "application_name": our_name(), **_ALIVE}
    arguments = {name: value for name, value in ours.items() if name not in database.url.query}
    try:
        engine = create_engine(
            database.url,
            isolation_level="SERIALIZABLE",
            connect_args=arguments,
            pool_size=1,
            max_overflow=0,
            pool_timeout=busy_ms / 1000,
        )
    except ImportError as exc:
        raise ConfigError(
            f"{database.origin} names a PostgreSQL server, but the PostgreSQL driver is not installed",
            why=str(exc),
            fix=pip_install("psycopg[binary]>=3.2,<4"),
            code="ledger_driver",
        ) from exc
    event.listen(engine, "do_connect", lambda *_with: _with[3].update(_login(database)))
    event.listen(engine, "connect", lambda connection, _record: _begin(database, connection, busy_ms, sole))
    return engine


def _login(database: Database) -> dict[str, str]:
    """Return the login parameters, read again for each session, so that a changed password takes effect."""
    secret = database.secret()
    return {} if secret is None else {"password": secret}


def our_name() -> str:
    """Return the name of our sessions in pg_stat_activity."""
    return f"pancode, pid {os.getpid()} on {socket.gethostname()}"[:_NAME_CHARS]


def _begin(database: Database, connection: Any, busy_ms: int, sole: bool) -> None:
    """Prepare a new session, before its first transaction."""
    try:
        connection.autocommit = True
        version = connection.info.server_version // 10_000
        if version < OLDEST:
            raise ConfigError(
                f"the PostgreSQL at {database.place} is too old",
                why=f"its version is {version}; PanCode needs {OLDEST} or newer",
                fix=f"upgrade it, or set {database.origin} to another server; "
                f"{database.probe('select version()')}",
                code="ledger_server",
            )
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            make = f"create database {_quote_name(database)} encoding 'UTF8' template template0"
            raise ConfigError(
                f"the database at {database.place} does not use UTF-8",
                why=f"the database's encoding is {encoding}; it must be UTF8",
                fix=f"create the database again: {database.probe(make, 'postgres')}",
                code="ledger_server",
            )
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {int(busy_ms)}")
            # Let the server detect a vanished client soon, not only after the system's default of two hours.
            for name, seconds in (("idle", 30), ("interval", 10), ("count", 3)):
                cursor.execute(f"SET tcp_keepalives_{name} = {seconds}")
            if sole:
                _take(database, cursor)
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise


def _take(database: Database, cursor: Any) -> None:
    """Take the exclusive right to write, waiting at most `lock_timeout`."""
    import psycopg

    try:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", LOCK)
    except psycopg.errors.LockNotAvailable as exc:
        cursor.execute(_HOLDER, LOCK)
        raise _make_locked_error(database, cursor.fetchone()) from exc


def _make_locked_error(
    database: Database, holder: tuple[int, str | None, str | None] | None
) -> UnavailableError:
    pid, name, address = holder or (0, None, None)
    who = f"{name or 'a session of another user'}{f' ({address})' if address else ''}"
    command = database.probe(f"select pg_terminate_backend({pid})")
    end = f"; if that computer is gone: {command}" if pid else ""
    return UnavailableError(
        f"the ledger at {database.place} is in use by another coordinator",
        why=f"{who} has it locked, session {pid}" if pid else "another session had locked it until just now",
        fix=(
            f"stop that coordinator on its computer: pancode fleet down; or set {database.origin} to another "
            f"database{end}"
        ),
        code="ledger_locked",
    )


def _quote_name(database: Database) -> str:
    return '"' + str(database.url.database).replace('"', '""') + '"'


def _no_address(origin: str, why: str) -> ConfigError:
    return ConfigError(
        f"{origin} is not the address of a PostgreSQL database",
        why=why,
        fix=f"set {origin} to postgresql://USER:PASSWORD@HOST:5432/DATABASE, or unset it to keep the ledger "
        "in a file",
        code="ledger_url",
    )
