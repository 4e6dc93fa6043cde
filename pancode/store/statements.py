"""The SQL of one kind of record, each statement built once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from importlib import import_module
from typing import Any

from sqlalchemy import and_, bindparam, delete, select, tuple_

from pancode.core.records import Record
from pancode.store.shape import RecordShape, key_getter, shape_of
from pancode.store.tables import TABLES

_LAST = "\U0010ffff"
Order = tuple[str | None, bool]
"""The field of the order, and whether the last row comes first."""
Asked = tuple[Any, Mapping[str, Any]]
"""A statement and its values by name."""


class Statements:
    """get, insert, put and delete as constants; searches by what they ask for. Raises nothing."""

    def __init__(self, kind: type[Record], dialect: str) -> None:
        self.shape: RecordShape = shape_of(kind)
        self.key_of = key_getter(self.shape)
        self._table = TABLES[kind]
        self._keys = [self._table.c[name] for name in self.shape.key]
        self._names = tuple(f"k{number}" for number in range(len(self._keys)))
        match = and_(*(c == bindparam(n) for c, n in zip(self._keys, self._names, strict=True)))
        self.get = select(self._table).where(match)
        self.delete = delete(self._table).where(match)
        # Both dialects spell it alike; their classes have no common parent that says so.
        insert = import_module(f"sqlalchemy.dialects.{dialect}").insert  # the other one stays out of memory
        new: Any = insert(self._table).execution_options(preserve_rowcount=True)
        self.insert = new.on_conflict_do_nothing(index_elements=self._keys)
        changed = {c.name: new.excluded[c.name] for c in self._table.c if not c.primary_key}
        self.put = new.on_conflict_do_update(index_elements=self._keys, set_=changed)
        self._found: dict[tuple[Any, ...], Any] = {}

    def key(self, key: tuple[str | int, ...]) -> dict[str, Any]:
        """Values of `get` and `delete`; ValueError for a key of another length."""
        if len(key) != len(self._names):
            raise ValueError(f"{self.shape.record.__name__} has the key {self.shape.key}")
        return dict(zip(self._names, key, strict=True))

    def row(self, record: Record) -> dict[str, Any]:
        """Values of `insert` and `put`."""
        return dict(zip(self.shape.names, self.shape.to_row(record), strict=True))

    def starting(self, prefix: str, limit: int) -> Asked:
        """Keys from `prefix` to the last text that starts with it: a range of the key's own index."""
        first = self._keys[0]
        query = select(*self._keys).where(first >= prefix, first < prefix + _LAST)
        return query.order_by(*self._keys).limit(limit), {}

    def find(
        self, where: Mapping[str, Any], order: Order, limit: int | None, after: tuple[Any, ...] | None = None
    ) -> Asked:
        """Rows in order; those that are equal by `order` in the order of their keys."""
        form = (
            tuple((name, value is None) for name, value in where.items()),
            order,
            limit is None,
            after is None,
        )
        if form not in self._found:
            query = self._search(where, order, limit is not None)
            self._found[form] = query if after is None else query.where(self._beyond(order))
        values = {f"w_{name}": _plain(value) for name, value in where.items() if value is not None}
        values |= {f"a_{number}": value for number, value in enumerate(after or ())}
        return self._found[form], values if limit is None else {**values, "most": limit}

    def _search(self, where: Mapping[str, Any], order: Order, limited: bool) -> Any:
        query: Any = select(self._table)
        for name, value in where.items():
            column = self._table.c[name]
            query = query.where(column.is_(None) if value is None else column == bindparam(f"w_{name}"))
        by = [self._table.c[order[0]]] if order[0] is not None else []
        if order[1]:
            query = query.order_by(*[c.desc().nulls_last() for c in by], *[c.desc() for c in self._keys])
        else:
            query = query.order_by(*[c.asc().nulls_first() for c in by], *self._keys)
        return query.limit(bindparam("most")) if limited else query

    def _beyond(self, order: Order) -> Any:
        """What comes after a place: an order of values, the rows with the same one by their keys."""
        by = [self._table.c[order[0]]] if order[0] is not None else []
        places = [*by, *self._keys]
        place = tuple_(*(bindparam(f"a_{n}", type_=column.type) for n, column in enumerate(places)))
        return tuple_(*places) < place if order[1] else tuple_(*places) > place


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
