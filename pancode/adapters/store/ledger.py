"""The ledger in a SQL database: one writer, every commit durable before the caller goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection

from pancode.adapters.store.engine import engine_for, sqlite_url
from pancode.adapters.store.errors import translated
from pancode.adapters.store.migrate import History, bring_up_to_date
from pancode.adapters.store.statements import Statements
from pancode.domain.records import ALL, Record
from pancode.errors import ConflictError, UnavailableError

R = TypeVar("R", bound=Record)
BUSY_MS = 5_000


class SqlLedger:
    """A pancode.ports.Ledger on SQLite (a path) or another database (a URL).

    One transaction at a time, from any thread. Opening creates the database, or migrates an older one.
    Errors: UnavailableError (locked, full, damaged, failing disk, closed), ConfigError (no permission, or
    written by a newer version).
    """

    def __init__(self, where: Path | str, *, busy_ms: int = BUSY_MS, history: History | None = None) -> None:
        url = sqlite_url(where) if isinstance(where, Path) else where
        self._engine = engine_for(url, busy_ms)
        self._place = str(self._engine.url.database if isinstance(where, Path) else self._engine.url)
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._connection: Connection | None = None
        try:
            with translated(self._place):
                bring_up_to_date(self._engine, self._place, history or History())
                self._connection = self._engine.connect()
        except BaseException:
            self._engine.dispose()
            raise
        self._statements = {kind: Statements(kind, self._engine.dialect.name) for kind in ALL}

    def transaction(self) -> AbstractContextManager[SqlTransaction]:
        """Commits on leaving, rolls back on any exception. RuntimeError inside another one of this thread."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[SqlTransaction]:
        if self._owner == threading.get_ident():
            raise RuntimeError("a ledger transaction is open in this thread already")
        with self._lock:
            if self._connection is None:
                raise UnavailableError("the ledger is closed")
            self._owner = threading.get_ident()
            transaction = SqlTransaction(self._connection, self._statements)
            try:
                with translated(self._place), self._connection.begin():
                    yield transaction
            finally:
                transaction.end()
                self._owner = None

    def close(self) -> None:
        """Idempotent; later transactions raise UnavailableError."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                self._engine.dispose()


class SqlTransaction:
    """A pancode.ports.Transaction on an open connection."""

    def __init__(self, connection: Connection, statements: Mapping[type[Record], Statements]) -> None:
        self._connection: Connection | None = connection
        self._statements = statements

    def get(self, kind: type[R], *key: str | int) -> R | None:
        sql = self._statements[kind]
        row = self._run(sql.get, sql.key(key)).first()
        return None if row is None else cast("R", sql.shape.from_row(row))

    def find(
        self,
        kind: type[R],
        where: Mapping[str, object] | None = None,
        *,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> list[R]:
        sql = self._statements[kind]
        sql.shape.check_find(where or {}, order, limit)
        rows = self._run(sql.find(where or {}, order, descending, limit))
        return [cast("R", sql.shape.from_row(row)) for row in rows]

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[tuple[str | int, ...]]:
        rows = self._run(self._statements[kind].starting(prefix, limit))
        return [tuple(row) for row in rows]

    def insert(self, record: Record) -> None:
        sql = self._statements[type(record)]
        if self._run(sql.insert, sql.shape.to_row(record)).rowcount == 0:
            key = ".".join(map(str, sql.key_of(record)))
            raise ConflictError(f"{sql.shape.name} {key} is there already")

    def put(self, record: Record) -> None:
        sql = self._statements[type(record)]
        self._run(sql.put, sql.shape.to_row(record))

    def delete(self, kind: type[Record], *key: str | int) -> None:
        sql = self._statements[kind]
        self._run(sql.delete, sql.key(key))

    def end(self) -> None:
        """A transaction that is kept beyond its block can do nothing any more."""
        self._connection = None

    def _run(self, statement: Any, parameters: Mapping[str, Any] | None = None) -> Any:
        if self._connection is None:
            raise RuntimeError("this ledger transaction has ended")
        return self._connection.execute(statement, parameters)
