"""The ledger in a SQL database: one writer, every commit durable before the caller continues."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, Table, and_, bindparam, delete, select, text, tuple_
from sqlalchemy.exc import DBAPIError

from pancode.kernel.errors import ConflictError, PancodeError, UnavailableError
from pancode.kernel.ports import Grouped, Grouping, Key
from pancode.kernel.rows import Record
from pancode.store.errors import explain_error, translate_database_errors
from pancode.store.migration import Revisions, bring_up_to_date
from pancode.store.postgres import Database, engine_of
from pancode.store.shape import RecordShape, key_getter, shape_of
from pancode.store.sqlite import engine_for, sqlite_url
from pancode.store.tables import Schema
from pancode.store.tallies import build_query, groups_of

_LAST = "\U0010ffff"
Order = tuple[str | None, bool]
"""The field that sorts the rows (None: the key), and whether the order is descending."""
Asked = tuple[Any, Mapping[str, Any]]
"""A statement and its parameters by name."""


class Statements:
    """One table's SQL statements: get, insert, put and delete are fixed; searches are built when needed."""

    def __init__(self, kind: type[Record], table: Table, dialect: str) -> None:
        self.shape: RecordShape = shape_of(kind)
        self.key_of = key_getter(self.shape)
        self.table = table
        self._keys = [self.table.c[name] for name in self.shape.key]
        self._names = tuple(f"k{number}" for number in range(len(self._keys)))
        match = and_(*(c == bindparam(n) for c, n in zip(self._keys, self._names, strict=True)))
        self.get = select(self.table).where(match)
        self.delete = delete(self.table).where(match)
        # Both dialects have this function, but no common base class declares it. Only this dialect is
        # imported, to save memory.
        insert = import_module(f"sqlalchemy.dialects.{dialect}").insert
        new: Any = insert(self.table).execution_options(preserve_rowcount=True)
        self.insert = new.on_conflict_do_nothing(index_elements=self._keys)
        changed = {c.key: new.excluded[c.key] for c in self.table.c if not c.primary_key}
        self.put = new.on_conflict_do_update(index_elements=self._keys, set_=changed)
        self._found: dict[tuple[Any, ...], Any] = {}

    def key(self, key: tuple[str | int, ...]) -> dict[str, Any]:
        """Return the parameters for `get` and `delete`; ValueError for a key of another length."""
        if len(key) != len(self._names):
            raise ValueError(f"the key of {self.shape.record.__name__} is {self.shape.key}")
        return dict(zip(self._names, key, strict=True))

    def row(self, record: Record) -> dict[str, Any]:
        """Return the parameters for `insert` and `put`."""
        return dict(zip(self.shape.names, self.shape.to_row(record), strict=True))

    def starting(self, prefix: str, limit: int) -> Asked:
        """Return a query for the rows whose key starts with `prefix`, as a range in the key's index."""
        first = self._keys[0]
        query = select(*self._keys).where(first >= prefix, first < prefix + _LAST)
        return query.order_by(*self._keys).limit(limit), {}

    def find(
        self, where: Mapping[str, Any], order: Order, limit: int | None, after: tuple[Any, ...] | None = None
    ) -> Asked:
        """Return a query for rows sorted by `order`, then key. `after`: the place after which to start."""
        form = (
            tuple((name, value is None) for name, value in where.items()),
            order,
            limit is None,
            after is None,
        )
        if form not in self._found:
            query = self._search(where, order, limit is not None)
            self._found[form] = query if after is None else query.where(self._make_condition(order))
        plain = {name: value.value if isinstance(value, Enum) else value for name, value in where.items()}
        values = {f"w_{name}": value for name, value in plain.items() if value is not None}
        values |= {f"a_{number}": value for number, value in enumerate(after or ())}
        return self._found[form], values if limit is None else {**values, "most": limit}

    def _search(self, where: Mapping[str, Any], order: Order, limited: bool) -> Any:
        query: Any = select(self.table)
        for name, value in where.items():
            column = self.table.c[name]
            query = query.where(column.is_(None) if value is None else column == bindparam(f"w_{name}"))
        by = [self.table.c[order[0]]] if order[0] is not None else []
        if order[1]:
            query = query.order_by(*[c.desc().nulls_last() for c in by], *[c.desc() for c in self._keys])
        else:
            query = query.order_by(*[c.asc().nulls_first() for c in by], *self._keys)
        return query.limit(bindparam("most")) if limited else query

    def _make_condition(self, order: Order) -> Any:
        """Return the condition for rows after a place, compared by the value of `order`, then by key."""
        by = [self.table.c[order[0]]] if order[0] is not None else []
        places = [*by, *self._keys]
        place = tuple_(*(bindparam(f"a_{n}", type_=column.type) for n, column in enumerate(places)))
        return tuple_(*places) < place if order[1] else tuple_(*places) > place


R = TypeVar("R", bound=Record)
BUSY_MS = 5_000
Judge = Callable[[BaseException | None], PancodeError]
_NUMBER = text("SELECT pg_current_xact_id()::text")
_FATE = text("SELECT pg_xact_status(CAST(:number AS text)::xid8)")


class SqlLedger:
    """A pancode.kernel.ports.Ledger on SQLite (a path) or PostgreSQL (an address).

    One transaction at a time, from any thread. Opening creates the tables, or migrates older ones. Errors:
    UnavailableError (locked, full, damaged, failing disk, server unreachable, closed), ConfigError (no
    permission, wrong address, or written by a newer version). After a lost connection, the next transaction
    reconnects.
    """

    def __init__(
        self,
        where: Path | Database,
        schema: Schema,
        *,
        busy_ms: int = BUSY_MS,
        history: Revisions | None = None,
        sole: bool = True,
    ) -> None:
        """Open the ledger. `sole`: no other process may write; SQLite always ensures this per transaction."""
        self._engine, self.place, self._judge = open_engine(where, busy_ms, sole)
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._closed = False
        dialect = self._engine.dialect.name
        self._asks_fate = sole and dialect == "postgresql"
        try:
            with translate_database_errors(self.place, self._judge):
                bring_up_to_date(self._engine, self.place, schema, history or Revisions())
                self._engine.connect().close()
        except BaseException:
            self._engine.dispose()
            raise
        self._statements = {kind: Statements(kind, table, dialect) for kind, table in schema.tables.items()}

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """Open a transaction: commit at the end, roll back on errors. RuntimeError if this thread has one."""
        if self._owner == threading.get_ident():
            raise RuntimeError("this thread already has an open ledger transaction")
        with self._lock:
            if self._closed:
                raise UnavailableError("the ledger is closed")
            self._owner = threading.get_ident()
            try:
                with translate_database_errors(self.place, self._judge), self._engine.connect() as connection:
                    connection.begin()
                    transaction = SqlTransaction(connection, self._statements)
                    try:
                        yield transaction
                        self._commit(connection, transaction)
                    finally:
                        transaction.end()
            finally:
                self._owner = None

    def _commit(self, connection: Connection, transaction: SqlTransaction) -> None:
        if transaction.failed:  # After a failed statement, PostgreSQL would silently roll back instead.
            raise PancodeError(
                "nothing was stored in the ledger",
                why="an earlier statement of the transaction failed",
                fix="repeat the command; if it fails again: pancode doctor",
            )
        number = connection.scalar(_NUMBER) if self._asks_fate and transaction.wrote else None
        try:
            connection.commit()
        except DBAPIError as exc:
            # The transaction only read data, which has already arrived.
            if not exc.connection_invalidated or (transaction.wrote and not self._was_made(number)):
                raise

    def _was_made(self, number: str | None) -> bool:
        """Return whether the transaction was committed although the response to COMMIT was lost; False if
        unknown. Queries a new session: as that session got the right to write, the old one has ended."""
        if number is None:
            return False
        with suppress(DBAPIError, PancodeError), self._engine.connect() as fresh:
            return bool(fresh.scalar(_FATE, {"number": number}) == "committed")
        return False

    def close(self) -> None:
        """Close the ledger. Idempotent; later transactions raise UnavailableError."""
        with self._lock:
            self._closed = True
            self._engine.dispose()


def open_engine(where: Path | Database, busy_ms: int, sole: bool) -> tuple[Engine, str, Judge]:
    """Return the engine, the place as text, and the function that translates the engine's errors."""
    if isinstance(where, Path):
        place = str(where)
        return engine_for(sqlite_url(where), busy_ms), place, partial(explain_error, place)
    from pancode.store import postgres_errors

    return engine_of(where, busy_ms, sole), where.place, partial(postgres_errors.explain_error, where)


class SqlTransaction:
    """A pancode.kernel.ports.Transaction on an open connection."""

    def __init__(self, connection: Connection, statements: Mapping[type[Record], Statements]) -> None:
        self._connection: Connection | None = connection
        self._dialect = connection.dialect.name
        self._statements = statements
        self.wrote = self.failed = False

    def get(self, kind: type[R], *key: str | int) -> R | None:
        sql = self._statements[kind]
        row = self._do(sql.get, sql.key(key)).first()
        return None if row is None else cast("R", sql.shape.from_row(row))

    def find(
        self,
        kind: type[R],
        where: Mapping[str, object] | None = None,
        *,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        after: Key | None = None,
    ) -> list[R]:
        sql = self._statements[kind]
        sql.shape.check_find(where or {}, order, limit, after)
        rows = self._do(*sql.find(where or {}, (order, descending), limit, after))
        return [cast("R", sql.shape.from_row(row)) for row in rows]

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[tuple[str | int, ...]]:
        return [tuple(row) for row in self._do(*self._statements[kind].starting(prefix, limit))]

    def tally(self, kind: type[Record], grouping: Grouping) -> list[Grouped]:
        sql = self._statements[kind]
        query = build_query(sql.table, sql.shape, grouping, self._dialect)
        return groups_of(sql.shape, grouping, self._do(query, {}))

    def insert(self, record: Record) -> None:
        sql = self._statements[type(record)]
        if self._change(sql.insert, sql.row(record)).rowcount == 0:
            raise ConflictError(f"{sql.shape.name} {'.'.join(map(str, sql.key_of(record)))} already exists")

    def put(self, record: Record) -> None:
        sql = self._statements[type(record)]
        self._change(sql.put, sql.row(record))

    def delete(self, kind: type[Record], *key: str | int) -> None:
        sql = self._statements[kind]
        self._change(sql.delete, sql.key(key))

    def end(self) -> None:
        """End the transaction; any later use of it raises RuntimeError."""
        self._connection = None

    def _change(self, statement: Any, values: Mapping[str, Any]) -> Any:
        self.wrote = True
        return self._do(statement, values)

    def _do(self, statement: Any, values: Mapping[str, Any]) -> Any:
        if self._connection is None:
            raise RuntimeError("this ledger transaction has ended")
        try:
            return self._connection.execute(statement, values)
        except DBAPIError:
            self.failed = True
            raise
