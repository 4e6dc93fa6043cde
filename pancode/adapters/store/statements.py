"""The SQL of one kind of record, each statement built once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Delete, Select, and_, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from pancode.adapters.store.shape import RecordShape, key_getter, shape_of
from pancode.adapters.store.tables import TABLES
from pancode.domain.records import Record

_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Statements:
    """get, insert, put and delete as constants; find by its parameters. Raises nothing."""

    def __init__(self, kind: type[Record], dialect: str) -> None:
        self.shape: RecordShape = shape_of(kind)
        self.key_of = key_getter(self.shape)
        self._table = TABLES[kind]
        self._keys = [self._table.c[name] for name in self.shape.key]
        self._names = tuple(f"k{number}" for number in range(len(self._keys)))
        match = and_(*(c == bindparam(n) for c, n in zip(self._keys, self._names, strict=True)))
        self.get: Select[Any] = select(self._table).where(match)
        self.delete: Delete = delete(self._table).where(match)
        # Both dialects spell it alike; their classes have no common parent that says so.
        new: Any = _INSERT[dialect](self._table)
        self.insert: Insert = new.on_conflict_do_nothing(index_elements=self._keys)
        changed = {c.name: new.excluded[c.name] for c in self._table.c if not c.primary_key}
        self.put: Insert = new.on_conflict_do_update(index_elements=self._keys, set_=changed)

    def key(self, key: tuple[str | int, ...]) -> dict[str, str | int]:
        """Parameters of `get` and `delete`; ValueError for a key of another length."""
        if len(key) != len(self._names):
            raise ValueError(f"{self.shape.record.__name__} has the key {self.shape.key}")
        return dict(zip(self._names, key, strict=True))

    def starting(self, prefix: str, limit: int) -> Select[Any]:
        """Keys from `prefix` to the last text that starts with it: a range of the key's own index."""
        first = self._keys[0]
        query = select(*self._keys).where(first >= prefix, first < prefix + "\U0010ffff")
        return query.order_by(*self._keys).limit(limit)

    def find(
        self, where: Mapping[str, object], order: str | None, descending: bool, limit: int | None
    ) -> Select[Any]:
        """Rows in order; rows that are equal by `order` in the order of their keys."""
        query = select(self._table)
        for name, value in where.items():
            column = self._table.c[name]
            query = query.where(column.is_(None) if value is None else column == value)
        by = [self._table.c[order]] if order is not None else []
        if descending:
            query = query.order_by(*[c.desc().nulls_last() for c in by], *[c.desc() for c in self._keys])
        else:
            query = query.order_by(*[c.asc().nulls_first() for c in by], *self._keys)
        return query if limit is None else query.limit(limit)
