"""The ledger in memory: the same promises as the stored one but durability, fast enough for a simulation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from decimal import Decimal
from itertools import islice
from typing import TypeVar, cast

from pancode.app.schema import SCHEMA
from pancode.budget.books import add_amounts
from pancode.kernel.errors import ConflictError, UnavailableError
from pancode.kernel.ports import Grouped, Grouping
from pancode.kernel.records import Record
from pancode.store.shape import RecordShape, key_getter, shape_of

R = TypeVar("R", bound=Record)
Key = tuple[str | int, ...]
Hook = Callable[[], None]


class Killed(BaseException):
    """Nothing in the product catches it, as nothing survives kill -9."""


class KillAt:
    """A hook of a ledger: kills at its n-th commit. `count`: of the commits so far."""

    def __init__(self, number: int) -> None:
        self.number, self.count = number, 0

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.number:
            raise Killed


class MemoryLedger:
    """A pancode.kernel.ports.Ledger. One transaction at a time; others wait for it.

    `strict`: keep copies that went through the stored ledger's encoding, so that a caller who changes a dict
    in place, or stores what is not plain JSON, fails here as it would there (about twice as slow).
    `before_commit` may raise: everything is rolled back, as after a kill. `after_commit` may raise: all is
    kept and the caller does not know it, as after a kill one moment later.
    """

    def __init__(
        self,
        kinds: Iterable[type[Record]] = SCHEMA.tables,
        *,
        strict: bool = False,
        before_commit: Hook | None = None,
        after_commit: Hook | None = None,
    ) -> None:
        self._tables = {kind: _Table(shape_of(kind)) for kind in kinds}
        self._strict = strict
        self.before_commit = before_commit
        self.after_commit = after_commit
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._closed = False

    def as_written(self, kind: type[R]) -> list[R]:
        """Return all rows in the order in which they were first written, which no query tells."""
        return [cast("R", row) for row in self._tables[kind].rows.values()]

    def transaction(self) -> AbstractContextManager[MemoryTransaction]:
        """Commits on leaving, rolls back on any exception. RuntimeError inside another one of this thread."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[MemoryTransaction]:
        if self._owner == threading.get_ident():
            raise RuntimeError("this thread already has an open ledger transaction")
        with self._lock:
            if self._closed:
                raise UnavailableError("the ledger is closed")
            self._owner = threading.get_ident()
            transaction = MemoryTransaction(self._tables, self._strict)
            try:
                yield transaction
                if self.before_commit is not None:
                    self.before_commit()
            except BaseException:
                transaction.roll_back()
                raise
            finally:
                transaction.end()
                self._owner = None
            if self.after_commit is not None:
                self.after_commit()

    def close(self) -> None:
        """Idempotent; later transactions raise UnavailableError."""
        with self._lock:
            self._closed = True


class MemoryTransaction:
    """A pancode.kernel.ports.Transaction that changes the tables at once and remembers how to undo it."""

    def __init__(self, tables: Mapping[type[Record], _Table], strict: bool) -> None:
        self._tables: Mapping[type[Record], _Table] | None = tables
        self._strict = strict
        self._undo: list[tuple[_Table, Key, Record | None]] = []

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._undo)

    def get(self, kind: type[R], *key: str | int) -> R | None:
        table = self._table(kind)
        if len(key) != table.key_length:
            raise ValueError(f"the key of {kind.__name__} is {table.shape.key}")
        return cast("R | None", table.rows.get(key))

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
        table = self._table(kind)
        table.shape.check_find(where or {}, order, limit, after)
        if after is None:
            return cast("list[R]", table.find(where or {}, order, descending, limit))
        found = [
            row
            for row in table.find(where or {}, order, descending, None)
            if _is_beyond(table.place(row, order), after, descending)
        ]
        return cast("list[R]", found[:limit])

    def starting(self, kind: type[Record], prefix: str, limit: int) -> list[Key]:
        keys = (key for key in self._table(kind).rows if str(key[0]).startswith(prefix))
        return sorted(keys)[:limit]

    def tally(self, kind: type[Record], grouping: Grouping) -> list[Grouped]:
        groups: dict[Key, list[Record]] = {}
        for row in self._table(kind).rows.values():
            if _is_among(row, grouping):
                groups.setdefault(tuple(getattr(row, name) for name in grouping.by), []).append(row)
        found = [_group(key, rows, grouping) for key, rows in groups.items()]
        if grouping.largest is None:
            return found
        field, most = grouping.largest
        found.sort(key=lambda one: (-getattr(groups[one.key][0], field), one.key))
        return found[:most]

    def insert(self, record: Record) -> None:
        table = self._table(type(record))
        key = table.key_of(record)
        if key in table.rows:
            raise ConflictError(f"{table.shape.name} {'.'.join(map(str, key))} already exists")
        self._set(table, key, record)

    def put(self, record: Record) -> None:
        table = self._table(type(record))
        self._set(table, table.key_of(record), record)

    def delete(self, kind: type[Record], *key: str | int) -> None:
        table = self._table(kind)
        if len(key) != table.key_length:
            raise ValueError(f"the key of {kind.__name__} is {table.shape.key}")
        if key in table.rows:
            self._set(table, key, None)

    def roll_back(self) -> None:
        for table, key, old in reversed(self._undo):
            table.set(key, old)
        self._undo.clear()

    def end(self) -> None:
        """A transaction that is kept beyond its block can do nothing any more."""
        self._tables = None

    def _set(self, table: _Table, key: Key, record: Record | None) -> None:
        if self._strict and record is not None:
            record = _held(table.shape.from_row(table.shape.to_row(record)))
        self._undo.append((table, key, table.rows.get(key)))
        table.set(key, record)

    def _table(self, kind: type[Record]) -> _Table:
        if self._tables is None:
            raise RuntimeError("this ledger transaction has ended")
        return self._tables[kind]


def _is_beyond(place: Key, after: Key, descending: bool) -> bool:
    return place < after if descending else place > after


def _is_among(row: Record, grouping: Grouping) -> bool:
    if any(getattr(row, name) not in values for name, values in grouping.among.items()):
        return False
    if grouping.prefix is not None and not getattr(row, grouping.prefix[0]).startswith(grouping.prefix[1]):
        return False
    if grouping.below is not None:
        value = getattr(row, grouping.below[0])
        if value is None or value >= grouping.below[1]:
            return False
    return grouping.least is None or (getattr(row, grouping.least[0]) or 0) >= grouping.least[1]


def _group(key: Key, rows: list[Record], grouping: Grouping) -> Grouped:
    counted = len({getattr(row, grouping.distinct) for row in rows}) if grouping.distinct else len(rows)
    sums = []
    for name in grouping.sums:
        values = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        sums.append(add_amounts(*values) if values and isinstance(values[0], Decimal) else sum(values))
    return Grouped(key, counted, tuple(sums))


def _held(record: Record) -> Record:
    """OverflowError for a number that no column of a stored ledger holds."""
    for field in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise OverflowError(f"{field.name} {value} is no 64-bit number")
    return record


class _Keys:
    """A set of keys that knows whether it is in order; it sorts itself when somebody asks and it is not."""

    __slots__ = ("_keys", "_sorted")

    def __init__(self) -> None:
        self._keys: dict[Key, None] = {}
        self._sorted = True

    def add(self, key: Key) -> None:
        if self._sorted and self._keys and key < next(reversed(self._keys)):
            self._sorted = False
        self._keys[key] = None

    def remove(self, key: Key) -> None:
        del self._keys[key]

    def __len__(self) -> int:
        return len(self._keys)

    def each(self, descending: bool) -> Iterator[Key]:
        if not self._sorted:
            self._keys = dict.fromkeys(sorted(self._keys))
            self._sorted = True
        return reversed(self._keys) if descending else iter(self._keys)


class _Table:
    """Rows by key, and for each field that may be looked up by, the keys of each value."""

    def __init__(self, shape: RecordShape) -> None:
        self.shape = shape
        self.rows: dict[Key, Record] = {}
        self.key_length = len(shape.key)
        self._all = _Keys()
        self._by: dict[str, dict[object, _Keys]] = {name: {} for name in shape.looked_up}
        self.key_of = key_getter(shape)

    def set(self, key: Key, record: Record | None) -> None:
        """The one way a row changes: None takes it away."""
        old = self.rows.get(key)
        if record is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = record
        self._index_all(key, old, record)
        for name, values in self._by.items():
            _move(values, key, old, record, name)

    def _index_all(self, key: Key, old: Record | None, new: Record | None) -> None:
        if old is None and new is not None:
            self._all.add(key)
        elif old is not None and new is None:
            self._all.remove(key)

    def find(
        self, where: Mapping[str, object], order: str | None, descending: bool, limit: int | None
    ) -> list[Record]:
        keys = self._candidates(where)
        rows = (self.rows[key] for key in keys.each(descending))
        if len(where) > 1:
            rows = (row for row in rows if all(getattr(row, name) == value for name, value in where.items()))
        if order is None:
            return list(islice(rows, limit))
        # The rows come in the order of their keys, and sorting leaves equal rows as they came.
        return sorted(rows, key=_none_first(order), reverse=descending)[:limit]

    def place(self, row: Record, order: str | None) -> Key:
        """In the order of a search."""
        return (*([] if order is None else [getattr(row, order)]), *self.key_of(row))

    def _candidates(self, where: Mapping[str, object]) -> _Keys:
        best = self._all
        for name, value in where.items():
            keys = self._by[name].get(value, _NONE) if name in self._by else self._one(value)
            if len(keys) < len(best):
                best = keys
        return best

    def _one(self, value: object) -> _Keys:
        """The rows whose whole key is this value: none or one."""
        keys = _Keys()
        if (value,) in self.rows:
            keys.add(cast(Key, (value,)))
        return keys


_NONE = _Keys()


def _move(values: dict[object, _Keys], key: Key, old: Record | None, new: Record | None, name: str) -> None:
    before = getattr(old, name) if old is not None else _NONE
    after = getattr(new, name) if new is not None else _NONE
    if before is after or before == after:
        return
    if before is not _NONE:
        keys = values[before]
        keys.remove(key)
        if not keys:
            del values[before]
    if after is not _NONE:
        values.setdefault(after, _Keys()).add(key)


def _none_first(order: str) -> Callable[[Record], tuple[bool, object]]:
    def rank(record: Record) -> tuple[bool, object]:
        value = getattr(record, order)
        return (value is not None, value if value is not None else 0)

    return rank
