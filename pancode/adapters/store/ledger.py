"""The ledger in a SQL database: one writer, every commit durable before the caller goes on."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine

from pancode.adapters.store.cache import RowCache
from pancode.adapters.store.engine import engine_for, sqlite_url
from pancode.adapters.store.errors import meaning, translated
from pancode.adapters.store.line import FileLine, Line, Rows
from pancode.adapters.store.migrate import History, bring_up_to_date
from pancode.adapters.store.postgres import Database, engine_of
from pancode.adapters.store.statements import Prepared, Statements, Values
from pancode.domain.records import ALL, Attempt, ControlMessage, Entry, Fence, Record, Run
from pancode.errors import PancodeError, UnavailableError

R = TypeVar("R", bound=Record)
BUSY_MS = 5_000
_SOON_READ = frozenset({Run, Attempt, Fence, Entry, ControlMessage})
"""Of these a row that was made is asked for a moment later."""
Judge = Callable[[BaseException | None], PancodeError]


class SqlLedger:
    """A pancode.ports.Ledger on SQLite (a path) or PostgreSQL (an address).

    One transaction at a time, from any thread. Opening creates the tables, or migrates older ones.
    Errors: UnavailableError (locked, full, damaged, failing disk, server away, closed), ConfigError (no
    permission, wrong address, or written by a newer version). After a server was away the next
    transaction finds it by itself.
    """

    def __init__(
        self,
        where: Path | Database,
        *,
        busy_ms: int = BUSY_MS,
        history: History | None = None,
        sole: bool = True,
    ) -> None:
        """`sole`: nobody else may write beside us; SQLite sees to that in each transaction."""
        self._engine, self.place, self._judge = opened(where, busy_ms, sole)
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._connection: Connection | None = None
        try:
            with translated(self.place, self._judge):
                bring_up_to_date(self._engine, self.place, history or History())
                self._connection = self._engine.connect()
                self._line = _line(self._connection, sole)
        except BaseException:
            self._engine.dispose()
            raise
        self._statements = {kind: Statements(kind, self._engine.dialect) for kind in ALL}
        # Nobody else writes while we run: SQLite's `data_version` says it when somebody does, and a session
        # of PostgreSQL that has the right to write has had it since it read the rows.
        self._cache = RowCache() if self._engine.dialect.name == "sqlite" or sole else None

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
            transaction = SqlTransaction(self._line, self._statements, self._cache)
            try:
                with translated(self.place, self._judge):
                    transaction.begin()
                    yield transaction
                    self._line.commit()
            except BaseException:
                if self._cache is not None:
                    self._cache.clear()
                with translated(self.place, self._judge):
                    self._line.rollback()
                raise
            finally:
                transaction.end()
                self._owner = None

    def close(self) -> None:
        """Idempotent; later transactions raise UnavailableError."""
        with self._lock:
            if self._connection is not None:
                self._line.close()
                self._connection.close()
                self._connection = None
                self._engine.dispose()


def opened(where: Path | Database, busy_ms: int, sole: bool) -> tuple[Engine, str, Judge]:
    """The engine, the place in words, and who says what its errors mean."""
    if isinstance(where, Path):
        place = str(where)
        return engine_for(sqlite_url(where), busy_ms), place, partial(meaning, place)
    from pancode.adapters.store import postgres_errors

    return engine_of(where, busy_ms, sole), where.place, partial(postgres_errors.meaning, where)


def _line(connection: Connection, sole: bool) -> Line:
    if connection.dialect.name == "sqlite":
        return FileLine(cast("sqlite3.Connection", connection.connection.driver_connection))
    from pancode.adapters.store.postgres_line import PostgresLine

    return PostgresLine(connection, sole)


class SqlTransaction:
    """A pancode.ports.Transaction on an open connection.

    Statements go to the driver as compiled. Rows that are known are not asked for or decoded again: a
    coordinator asks for the same few rows hundreds of times a second.
    """

    def __init__(
        self,
        line: Line,
        statements: Mapping[type[Record], Statements],
        cache: RowCache | None = None,
    ) -> None:
        self._line: Line | None = line
        self._statements = statements
        self._cache = cache
        self._direct = isinstance(line, FileLine)

    def begin(self) -> None:
        """Once, before all else."""
        version = self._open.begin()
        if self._cache is not None:
            self._cache.check(version)

    def get(self, kind: type[R], *key: str | int) -> R | None:
        cache = self._cache if self._line else None
        if cache is not None:
            known = cache.get(kind, key)
            if known is not None or cache.is_absent(kind, key):
                return cast("R | None", known)
        sql = self._statements[kind]
        rows = self._ask(sql.get, sql.key(key))
        if rows:
            return cast("R", self._learn(sql, rows[0]))
        if cache is not None:
            cache.note_absent(kind, key)
        return None

    def find(
        self,
        kind: type[R],
        where: Mapping[str, object] | None = None,
        *,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> list[R]:
        if self._cache is None or not self._line:
            return self._searched(kind, where or {}, (order, descending), limit)
        search = (*(where or {}).items(), order, descending, limit)
        found = self._cache.found(kind, search)
        if found is None:
            found = self._searched(kind, where or {}, (order, descending), limit)
            self._cache.note_found(kind, search, found)
        return [cast("R", record) for record in found]

    def _searched(
        self, kind: type[R], where: Mapping[str, object], order: tuple[str | None, bool], limit: int | None
    ) -> list[R]:
        sql = self._statements[kind]
        sql.shape.check_find(where, order[0], limit)
        found = self._ask(*sql.find(where, order, limit, self._cache is not None))
        if self._cache is None:
            return [cast("R", sql.shape.from_row(row)) for row in found]
        known, keys = self._cache.of(kind), found
        if not self._direct and any(tuple(key) not in known for key in keys):
            # One question more, not one for each.
            every = self._ask(*sql.find(where, order, limit, False))
            return [cast("R", self._learn(sql, row)) for row in every]
        return [cast("R", known.get(tuple(key)) or self.get(kind, *key)) for key in keys]

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[tuple[str | int, ...]]:
        return [tuple(row) for row in self._ask(*self._statements[kind].starting(prefix, limit))]

    def insert(self, record: Record) -> None:
        sql = self._statements[type(record)]
        key, row = sql.key_of(record), sql.shape.to_row(record)
        self._open.insert(sql.insert, row, f"{sql.shape.name} {'.'.join(map(str, key))}")
        self._wrote(sql, key)
        made = sql.shape.given_back(row) if type(record) in _SOON_READ else None
        if made is None or self._cache is None:
            self._forget(sql, key)
        else:
            self._cache.put(key, made)

    def put(self, record: Record) -> None:
        sql = self._statements[type(record)]
        key = sql.key_of(record)
        known = self._cache.get(type(record), key) if self._cache is not None and self._line else None
        if known is not None:
            self._change(sql, key, known, record)
            return
        self._open.tell(sql.put, sql.shape.to_row(record))
        self._wrote(sql, key)
        self._forget(sql, key)

    def delete(self, kind: type[Record], *key: str | int) -> None:
        sql = self._statements[kind]
        self._open.tell(sql.delete, sql.key(key))
        self._wrote(sql, key)
        self._forget(sql, key)

    def end(self) -> None:
        """A transaction that is kept beyond its block can do nothing any more."""
        self._line = None

    @property
    def _open(self) -> Line:
        if self._line is None:
            raise RuntimeError("this ledger transaction has ended")
        return self._line

    def _ask(self, prepared: Prepared, values: Values) -> Rows:
        return self._open.ask(prepared, values)

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
        self._open.tell(*sql.change(key, changed))
        self._wrote(sql, key)
        after = sql.shape.after(known, changed)
        if after is None or self._cache is None:
            self._forget(sql, key)
        else:
            self._cache.put(key, after)

    def _wrote(self, sql: Statements, key: tuple[Any, ...]) -> None:
        if self._cache is not None:
            self._cache.wrote(sql.shape.record, key)

    def _forget(self, sql: Statements, key: tuple[Any, ...]) -> None:
        """What is read next is what the database made of it, not what we were handed."""
        if self._cache is not None:
            self._cache.drop(sql.shape.record, key)
