"""Checks a ledger in PostgreSQL without changing it: its schema, size and response time."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from node_agent.wire.clock import Clock
from pancode.store.migration import revision_of
from pancode.store.postgres import Database, engine_of
from pancode.store.postgres_errors import explain_error

BUSY_MS = 5_000
_MAY_MAKE = "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)::int"


@dataclass(frozen=True, slots=True)
class SeenThere:
    """A check's result. `revision` None: our tables do not exist; `answer_ms`: the time of one round trip."""

    server: str
    revision: str | None
    runs: int
    size: int
    answer_ms: int


def look_there(database: Database, clock: Clock) -> SeenThere:
    """Check the database, even while a coordinator uses it. Raises the errors of opening a ledger, including
    the one for a user that may not create tables."""
    engine = engine_of(database, BUSY_MS, sole=False)
    try:
        with closing(engine.connect()) as connection:
            return _read_state(connection, clock)
    except DBAPIError as exc:
        raise explain_error(database, exc.orig) from exc
    finally:
        engine.dispose()


def _read_state(connection: Connection, clock: Clock) -> SeenThere:
    def ask(query: str) -> int:
        found: int = connection.exec_driver_sql(query).scalar_one()
        return found

    ask("SELECT 1")  # The first query also begins the transaction.
    began = clock.mono_ms()
    ask("SELECT 1")
    answer_ms = clock.mono_ms() - began
    revision = revision_of(connection)
    if revision is None and not ask(_MAY_MAKE):
        raise DBAPIError(_MAY_MAKE, None, InsufficientPrivilege("permission denied for schema public"))
    runs = 0 if revision is None else ask("SELECT count(*) FROM runs")
    size = ask("SELECT pg_database_size(current_database())")
    version = connection.exec_driver_sql("SHOW server_version").scalar_one()
    return SeenThere(str(version).split()[0], revision, runs, size, answer_ms)
