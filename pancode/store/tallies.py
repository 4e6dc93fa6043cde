"""Builds SQL that groups, counts and sums rows; sums are exact in both databases."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any

from sqlalchemy import Numeric, Table, Text, cast, func, literal, or_, select

from pancode.kernel.ports import Grouped, Grouping
from pancode.kernel.values import EXACT
from pancode.store.shape import Column, Kind, RecordShape

SQLITE_SUM = "pancode_sum"
_LAST = "\U0010ffff"
_HALF = 31
AT_ONCE = 10_000


class ExactSum:
    """A sum function for SQLite, where amounts are text and the built-in sum rounds or overflows."""

    def __init__(self) -> None:
        self._total, self._waiting = Decimal(0), list[str | int]()

    def step(self, value: str | int | None) -> None:
        if value is not None:
            # The rows are added in batches, as adding them one by one takes twice the time.
            self._waiting.append(value)
        if len(self._waiting) == AT_ONCE:
            self._add_up()

    def finalize(self) -> str:
        self._add_up()
        return format(self._total, "f")

    def _add_up(self) -> None:
        with localcontext(EXACT):
            self._total = sum(map(Decimal, self._waiting), self._total)
        self._waiting.clear()


def build_query(table: Table, shape: RecordShape, grouping: Grouping, dialect: str) -> Any:
    """Return the SELECT for a grouping. KeyError for an unknown field."""
    columns = {column.name: column for column in shape.columns}
    by = [table.c[name] for name in grouping.by]
    if set(shape.key) <= set(grouping.by):  # Each row is its own group, so no sorting is needed.
        rows = [table.c[name] for name in grouping.sums]
        found = select(*by, literal(1), *rows).where(*_make_conditions(table, grouping))
        if grouping.largest is None:
            return found
        amount = cast(table.c[grouping.largest[0]], Numeric)
        return found.order_by(amount.desc(), *by).limit(grouping.largest[1])
    counted = func.count() if grouping.distinct is None else func.count(table.c[grouping.distinct].distinct())
    sums = [_make_sum(table.c[name], columns[name], dialect) for name in grouping.sums]
    return (
        select(*by, counted, *sums).select_from(table).where(*_make_conditions(table, grouping)).group_by(*by)
    )


def groups_of(shape: RecordShape, grouping: Grouping, rows: Iterable[Any]) -> list[Grouped]:
    """Return the result's rows as groups, with values as in records; empty groups do not occur."""
    columns = {column.name: column for column in shape.columns}
    decode = [(place, columns[name].decode) for place, name in enumerate(grouping.by)]
    odd = [(place, read) for place, read in decode if read is not None]
    width = len(decode)
    return [
        Grouped(_make_key(row[:width], odd), row[width], tuple(map(_parse_number, row[width + 1 :])))
        for row in map(tuple, rows)
        if row[width]
    ]


def _make_key(values: tuple[Any, ...], odd: list[tuple[int, Any]]) -> tuple[Any, ...]:
    if not odd:
        return values
    key = list(values)
    for place, read in odd:
        key[place] = None if key[place] is None else read(key[place])
    return tuple(key)


def _parse_number(value: Any) -> Decimal | int:
    """Return a number of a result: SQLite returns amounts as text, and sums of integers in two halves."""
    if isinstance(value, str):
        high, halved, low = value.partition(" ")
        return (int(high) << _HALF) + int(low) if halved else Decimal(value)
    return value or 0


def _make_sum(column: Any, shaped: Column, dialect: str) -> Any:
    if shaped.kind is Kind.DECIMAL:
        return getattr(func, SQLITE_SUM)(column) if dialect == "sqlite" else func.sum(cast(column, Numeric))
    if dialect == "sqlite":  # SQLite's sum fails for values above 64 bits.
        high, low = func.sum(column.op(">>")(_HALF)), func.sum(column.op("&")((1 << _HALF) - 1))
        return cast(high, Text).concat(" ").concat(cast(low, Text))
    return func.sum(column)


def _make_conditions(table: Table, grouping: Grouping) -> list[Any]:
    found = []
    for name, values in grouping.among.items():
        column = table.c[name]
        some = column.in_([value for value in values if value is not None])
        found.append(or_(some, column.is_(None)) if None in values else some)
    if grouping.prefix is not None:
        name, text = grouping.prefix
        found += [table.c[name] >= text, table.c[name] < text + _LAST]
    if grouping.least is not None:
        found.append(table.c[grouping.least[0]] >= grouping.least[1])
    if grouping.below is not None:
        found.append(table.c[grouping.below[0]] < grouping.below[1])
    return found
