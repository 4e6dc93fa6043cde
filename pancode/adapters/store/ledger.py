"""The ledger in a SQL database: one writer, every commit durable before the caller goes on."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection

from pancode.adapters.store.cache import RowCache
from pancode.adapters.store.engine import BEGIN, engine_for, sqlite_url
from pancode.adapters.store.errors import translated
from pancode.adapters.store.migrate import History, bring_up_to_date
from pancode.adapters.store.statements import Prepared, Statements
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
        self._statements = {kind: Statements(kind, self._engine.dialect) for kind in ALL}
        # Nobody else writes SQLite while we run, and `data_version` says it when somebody does; of another
        # database nothing is known between two transactions.
        self._cache = RowCache() if self._engine.dialect.name == "sqlite" else None

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
            transaction = SqlTransaction(self._connection, self._statements, self._cache)
            try:
                with translated(self._place), self._begun(self._connection) as driver:
                    transaction.begin(driver)
                    yield transaction
            except BaseException:
                if self._cache is not None:
                    self._cache.clear()
                raise
            finally:
                transaction.end()
                self._owner = None

    def _begun(self, connection: Connection) -> AbstractContextManager[sqlite3.Connection | None]:
        if self._cache is None:
            return _by_engine(connection)
        return _by_driver(cast("sqlite3.Connection", connection.connection.driver_connection))

    def close(self) -> None:
        """Idempotent; later transactions raise UnavailableError."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                self._engine.dispose()


@contextmanager
def _by_engine(connection: Connection) -> Iterator[None]:
    with connection.begin():
        yield None


@contextmanager
def _by_driver(driver: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """As the engine would do it, at a tenth of the cost."""
    driver.execute(BEGIN)
    try:
        yield driver
        driver.execute("COMMIT")
    except BaseException:
        if driver.in_transaction:  # a full disk ends it by itself
            driver.execute("ROLLBACK")
        raise


class SqlTransaction:
    """A pancode.ports.Transaction on an open connection.

    On SQLite statements go to the driver as compiled, and rows that are known are not decoded again: a
    coordinator asks for the same few rows hundreds of times a second.
    """

    def __init__(
        self,
        connection: Connection,
        statements: Mapping[type[Record], Statements],
        cache: RowCache | None = None,
    ) -> None:
        self._connection: Connection | None = connection
        self._statements = statements
        self._cache = cache
        self._driver: sqlite3.Connection | None = None

    def begin(self, driver: sqlite3.Connection | None) -> None:
        """Once, when the database's own transaction has begun; `driver`: SQLite's, to be used directly."""
        self._driver = driver
        if self._cache is not None and driver is not None:
            self._cache.check(driver.execute("PRAGMA data_version").fetchone()[0])

    def get(self, kind: type[R], *key: str | int) -> R | None:
        sql = self._statements[kind]
        values = sql.key(key)
        known = self._cache.get(kind, key) if self._cache is not None and self._open else None
        if known is None:
            row = self._run(sql.get, values).fetchone()
            known = None if row is None else self._learn(sql, row)
        return cast("R | None", known)

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
        found = self._run(*sql.find(where or {}, (order, descending), limit, self._cache is not None))
        if self._cache is None:
            return [cast("R", sql.shape.from_row(row)) for row in found]
        known = self._cache.of(kind)
        return [cast("R", known.get(key) or self.get(kind, *key)) for key in found.fetchall()]

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[tuple[str | int, ...]]:
        return [tuple(row) for row in self._run(*self._statements[kind].starting(prefix, limit))]

    def insert(self, record: Record) -> None:
        sql = self._statements[type(record)]
        if self._run(sql.insert, sql.shape.to_row(record)).rowcount == 0:
            key = ".".join(map(str, sql.key_of(record)))
            raise ConflictError(f"{sql.shape.name} {key} is there already")
        self._forget(sql, sql.key_of(record))

    def put(self, record: Record) -> None:
        sql = self._statements[type(record)]
        key = sql.key_of(record)
        known = self._cache.get(type(record), key) if self._cache is not None and self._open else None
        if known is not None:
            self._change(sql, key, known, record)
            return
        self._run(sql.put, sql.shape.to_row(record))
        self._forget(sql, key)

    def delete(self, kind: type[Record], *key: str | int) -> None:
        sql = self._statements[kind]
        self._run(sql.delete, sql.key(key))
        self._forget(sql, key)

    def end(self) -> None:
        """A transaction that is kept beyond its block can do nothing any more."""
        self._connection = None

    @property
    def _open(self) -> bool:
        return self._connection is not None

    def _learn(self, sql: Statements, row: tuple[Any, ...]) -> Record:
        record: Record = sql.shape.from_row(row)
        if self._cache is not None:
            self._cache.put(sql.key_of(record), record)
        return record

    def _change(self, sql: Statements, key: tuple[Any, ...], known: Record, record: Record) -> None:
        """Write what differs from the row that is there, and know what the database gives back."""
        changed = sql.shape.changed(known, record)
        if not changed:
            return
        self._run(*sql.change(key, changed))
        after = sql.shape.after(known, changed)
        if after is None or self._cache is None:
            self._forget(sql, key)
        else:
            self._cache.put(key, after)

    def _forget(self, sql: Statements, key: tuple[Any, ...]) -> None:
        """What is read next is what the database made of it, not what we were handed."""
        if self._cache is not None:
            self._cache.drop(sql.shape.record, key)

    def _run(self, prepared: Prepared, values: Mapping[str, Any]) -> Any:
        if self._connection is None:
            raise RuntimeError("this ledger transaction has ended")
        if self._driver is not None:
            return self._driver.execute(prepared.sql, prepared.row(values))
        return self._connection.execute(prepared.statement, values)
