"""Converts a record to a row of plain values and back, using only its dataclass fields."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import Enum, StrEnum
from functools import lru_cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from node_agent.wire.packing import pack, unpack
from pancode.kernel.rows import EnvelopeText, Record
from pancode.kernel.values import make_value

Convert = Callable[[Any], Any]


class Kind(Enum):
    """The type of a column."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    """A Decimal, stored as text so that no database rounds it."""
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a record. `encode` and `decode` are never called with None."""

    name: str
    kind: Kind
    nullable: bool
    encode: Convert | None
    decode: Convert | None


@dataclass(frozen=True, slots=True)
class RecordShape:
    """Everything that a ledger must know about one kind of record."""

    record: type[Record]
    name: str
    key: tuple[str, ...]
    looked_up: tuple[str, ...]
    """Fields with their own index, including the parts of a longer key."""
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    """The names of all fields, in order."""
    values: Callable[[Record], tuple[Any, ...]]
    """The values of all fields, in order."""
    encoded: tuple[tuple[int, Convert], ...]
    """The fields whose value in a row differs from the record's, by position, with conversion functions."""
    decoded: tuple[tuple[int, Convert], ...]
    """The same fields, with the functions that convert back."""

    def to_row(self, record: Record) -> list[Any]:
        """Return plain values in field order; TypeError or ValueError for a value that is not JSON."""
        row = list(self.values(record))
        for place, encode in self.encoded:
            if row[place] is not None:
                row[place] = encode(row[place])
        return row

    def from_row(self, row: Sequence[Any]) -> Any:
        """Return the record with these plain values, in field order."""
        values = list(row)
        for place, decode in self.decoded:
            if values[place] is not None:
                values[place] = decode(values[place])
        return make_value(self.record, values)

    def check_find(
        self,
        where: Mapping[str, object],
        order: str | None,
        limit: int | None,
        after: tuple[object, ...] | None = None,
    ) -> None:
        """Raise ValueError for a search that a ledger does not have to support."""
        for name in where:
            if name not in self.key and name not in self.looked_up:
                raise ValueError(f"{self.name} has no index on {name}; add it to the table's indexes")
        orderable = (c.name for c in self.columns if c.kind not in (Kind.JSON, Kind.DECIMAL))
        if order is not None and order not in orderable:
            raise ValueError(f"{self.name} cannot be ordered by {order}")
        if limit is not None and limit < 0:
            raise ValueError("limit must not be negative")
        if after is not None and (len(after) != (order is not None) + len(self.key) or None in after):
            raise ValueError(f"{after} is not a valid place in {self.name} ordered by {order or 'its key'}")


_KNOWN: dict[type[Record], RecordShape] = {}


def shape_of(record: type[Record]) -> RecordShape:
    """Return the shape of a frozen dataclass with a TABLE; TypeError for an unsupported field type."""
    if record not in _KNOWN:
        _KNOWN[record] = _shape(record)
    return _KNOWN[record]


def _shape(record: type[Record]) -> RecordShape:
    table = record.TABLE
    hints = get_type_hints(record, include_extras=True)
    parts = table.key if len(table.key) > 1 else ()
    indexed = [index.partition(",")[0] for index in table.indexes]
    columns = tuple(_make_column(f.name, hints[f.name]) for f in fields(record))  # type: ignore[arg-type]
    names = tuple(column.name for column in columns)
    return RecordShape(
        record=record,
        name=table.name,
        key=table.key,
        looked_up=tuple(dict.fromkeys((*indexed, *parts))),
        columns=columns,
        names=names,
        values=_make_getter(names),
        encoded=tuple((n, c.encode) for n, c in enumerate(columns) if c.encode is not None),
        decoded=tuple((n, c.decode) for n, c in enumerate(columns) if c.decode is not None),
    )


def key_getter(shape: RecordShape) -> Callable[[Record], tuple[Any, ...]]:
    """Return a function that reads a record's key, always as a tuple."""
    return _make_getter(shape.key)


def _make_getter(names: tuple[str, ...]) -> Callable[[Record], tuple[Any, ...]]:
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda record: (get(record),)


def _make_column(name: str, hint: Any) -> Column:
    nullable, bare = _without_none(hint)
    kind, encode, decode = _find_codec(bare)
    return Column(name, kind, nullable, encode, decode)


def _without_none(hint: Any) -> tuple[bool, Any]:
    if hint is object:
        return True, hint
    if get_origin(hint) not in (Union, UnionType):
        return False, hint
    rest = [arg for arg in get_args(hint) if arg is not NoneType]
    if len(rest) != 1:
        raise TypeError(f"a row cannot store the type {hint}")
    return True, rest[0]


def _find_codec(hint: Any) -> tuple[Kind, Convert | None, Convert | None]:
    plain = {str: Kind.TEXT, int: Kind.INTEGER}
    if hint in plain:
        return plain[hint], None, None
    if hint == EnvelopeText:
        return Kind.JSON, _remember(_pack), _remember(_unpack)
    if hint is bool:
        return Kind.BOOLEAN, None, bool
    if hint is Decimal:
        return Kind.DECIMAL, _format_money, Decimal
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return Kind.TEXT, lambda value: hint(value).value, hint
    if hint is object or (get_origin(hint) or hint) in (dict, list, tuple):
        shape = _make_tuple_convert(hint)
        json_decoder = (
            json.loads if shape is None else lambda text: () if text == "[]" else shape(json.loads(text))
        )
        return Kind.JSON, _dump, json_decoder
    raise TypeError(f"a row cannot store the type {hint}")


def _format_money(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value} is not a finite amount")
    return format(value, "f")


_PACKED = "zlib:"
"""The prefix of a packed envelope in a row. Older versions stored the envelope itself, a JSON object."""
_SHORT = 1 << 14


def _pack(text: str) -> str:
    return _PACKED + b64encode(pack(text.encode())).decode()


def _unpack(text: str) -> str:
    """Return the envelope. One that is damaged is returned as it is stored, and refused like a forged one."""
    with suppress(ValueError):
        if text.startswith(_PACKED):
            return unpack(b64decode(text.removeprefix(_PACKED), validate=True)).decode()
    return text


def _remember(convert: Convert) -> Convert:
    """Remember the newest results of short texts: a lease under way is written and read some twenty times."""
    known = lru_cache(maxsize=16)(convert)
    return lambda text: (known if len(text) < _SHORT else convert)(text)


_dump: Convert = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _make_tuple_convert(hint: Any) -> Convert | None:
    """Return a function that turns JSON lists into the tuples of the type hint; None if it has no tuples."""
    if get_origin(hint) is not tuple:
        return None
    items = get_args(hint)
    if len(items) != 2 or items[1] is not Ellipsis:
        raise TypeError(f"a row cannot store the type {hint}; write tuple[X, ...]")
    inner = _make_tuple_convert(items[0])
    return tuple if inner is None else lambda value: tuple(inner(item) for item in value)
