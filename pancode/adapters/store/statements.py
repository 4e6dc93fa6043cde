"""The SQL of one kind of record, each statement built and compiled once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Dialect, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pancode.adapters.store.shape import RecordShape, key_getter, shape_of
from pancode.adapters.store.tables import TABLES
from pancode.domain.records import Record

_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_LAST = "\U0010ffff"
Values = Mapping[str, Any] | list[Any]
"""By name, or in the statement's own order."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement, and the same as text with the names of its question marks in their order."""

    statement: Any
    sql: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]
    """Parameters that the dialect itself added."""
    order: tuple[str, ...] = ()
    """The names of values that are given as a list."""

    def named(self, values: Values) -> dict[str, Any]:
        """The values by name, for a driver that takes them so."""
        given = dict(zip(self.order, values, strict=True)) if isinstance(values, list) else values
        return {**self.fixed, **given}

    def row(self, values: Values) -> list[Any]:
        """The values in the order of the question marks."""
        if isinstance(values, list):
            if self.order == self.names:
                return values
            values = self.named(values)
        return [values[name] if name in values else self.fixed[name] for name in self.names]


def prepare(statement: Any, dialect: Dialect, order: tuple[str, ...] = ()) -> Prepared:
    compiled = statement.compile(dialect=dialect)
    fixed = {name: value for name, value in compiled.params.items() if value is not None}
    return Prepared(statement, str(compiled), tuple(compiled.positiontup or ()), fixed, order)


class Statements:
    """get, insert, put and delete as constants; searches by what they ask for. Raises nothing."""

    def __init__(self, kind: type[Record], dialect: Dialect) -> None:
        self.shape: RecordShape = shape_of(kind)
        self.key_of = key_getter(self.shape)
        self._dialect = dialect
        self._table = TABLES[kind]
        self._keys = [self._table.c[name] for name in self.shape.key]
        self._names = tuple(f"k{number}" for number in range(len(self._keys)))
        match = and_(*(c == bindparam(n) for c, n in zip(self._keys, self._names, strict=True)))
        self._match = match
        self.get = prepare(select(self._table).where(match), dialect, self._names)
        self.delete = prepare(delete(self._table).where(match), dialect, self._names)
        # Both dialects spell it alike; their classes have no common parent that says so.
        new: Any = _INSERT[dialect.name](self._table)
        # PostgreSQL tells a taken key by an error: then nobody has to wait for a count of rows.
        quiet = new.on_conflict_do_nothing(index_elements=self._keys)
        self.insert = prepare(quiet if dialect.name == "sqlite" else new, dialect, self.shape.names)
        changed = {c.name: new.excluded[c.name] for c in self._table.c if not c.primary_key}
        over = new.on_conflict_do_update(index_elements=self._keys, set_=changed)
        self.put = prepare(over, dialect, self.shape.names)
        self._found: dict[tuple[Any, ...], Prepared] = {}
        self._changes: dict[tuple[str, ...], Prepared] = {}

    def key(self, key: tuple[str | int, ...]) -> list[Any]:
        """Parameters of `get` and `delete`; ValueError for a key of another length."""
        if len(key) != len(self._names):
            raise ValueError(f"{self.shape.record.__name__} has the key {self.shape.key}")
        return list(key)

    def change(self, key: tuple[str | int, ...], changed: Mapping[str, Any]) -> tuple[Prepared, Values]:
        """An update of these fields alone: an index of others is left in peace."""
        form = tuple(changed)
        prepared = self._changes.get(form)
        if prepared is None:
            new: dict[Any, Any] = {self._table.c[name]: bindparam(f"n_{name}") for name in changed}
            order = (*(f"n_{name}" for name in changed), *self._names)
            statement = update(self._table).where(self._match).values(new)
            prepared = self._changes[form] = prepare(statement, self._dialect, order)
        return prepared, [*changed.values(), *self.key(key)]

    def starting(self, prefix: str, limit: int) -> tuple[Prepared, Values]:
        """Keys from `prefix` to the last text that starts with it: a range of the key's own index."""
        if ("starting",) not in self._found:
            first = self._keys[0]
            query = select(*self._keys).where(first >= bindparam("low"), first < bindparam("high"))
            ordered = query.order_by(*self._keys).limit(bindparam("most"))
            self._found[("starting",)] = prepare(ordered, self._dialect)
        return self._found[("starting",)], {"low": prefix, "high": prefix + _LAST, "most": limit}

    def find(
        self, where: Mapping[str, Any], order: tuple[str | None, bool], limit: int | None, keys_only: bool
    ) -> tuple[Prepared, Values]:
        """Rows (or their keys) in order; rows that are equal by `order` in the order of their keys."""
        form = (tuple((n, v is None) for n, v in where.items()), order, limit is None, keys_only)
        if form not in self._found:
            query = self._search(where, order, limit is not None, keys_only)
            self._found[form] = prepare(query, self._dialect)
        values = {f"w_{name}": _plain(value) for name, value in where.items() if value is not None}
        return self._found[form], values if limit is None else {**values, "most": limit}

    def _search(
        self, where: Mapping[str, Any], order: tuple[str | None, bool], limited: bool, keys_only: bool
    ) -> Any:
        query: Any = select(*self._keys) if keys_only else select(self._table)
        for name, value in where.items():
            column = self._table.c[name]
            query = query.where(column.is_(None) if value is None else column == bindparam(f"w_{name}"))
        by = [self._table.c[order[0]]] if order[0] is not None else []
        if order[1]:
            query = query.order_by(*[c.desc().nulls_last() for c in by], *[c.desc() for c in self._keys])
        else:
            query = query.order_by(*[c.asc().nulls_first() for c in by], *self._keys)
        return query.limit(bindparam("most")) if limited else query


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
