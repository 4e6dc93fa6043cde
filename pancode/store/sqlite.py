"""Opens the SQLite database: one connection, every commit durable, files readable only by their owner."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import StaticPool

from pancode.kernel.errors import ConfigError
from pancode.store.tallies import SQLITE_SUM, ExactSum

BEGIN = "BEGIN IMMEDIATE"


def sqlite_url(path: Path) -> str:
    """Return the URL of a ledger file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def engine_for(url: str, busy_ms: int) -> Engine:
    """Return an engine on a file, with one connection. `busy_ms`: longest wait for another process's lock."""
    parsed = make_url(url)
    if parsed.database is not None:
        # Only the current user may read file and directory; SQLite gives its side files the same mode.
        path = Path(parsed.database)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            raise ConfigError(
                f"cannot open the ledger at {path} for writing",
                why=str(exc),
                fix=f"make {path.parent} writable for you, or set PANCODE_HOME",
                code="ledger_forbidden",
            ) from exc
    arguments = {"check_same_thread": False, "timeout": busy_ms / 1000}
    engine = create_engine(parsed, poolclass=StaticPool, connect_args=arguments)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: object) -> None:
    # The driver would open transactions only before the first write, so we open them explicitly.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF", "cache_size=-16384"):
        cursor.execute(f"PRAGMA {pragma}")
    connection.create_aggregate(SQLITE_SUM, 1, ExactSum)
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # Take the write lock at the start, so that no other process changes what was read before the write-back.
    connection.exec_driver_sql(BEGIN)
