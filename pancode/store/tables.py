"""The SQL tables, derived from the records: a column per field, and an index per field used in lookups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, Boolean, Index, MetaData, Table, Text
from sqlalchemy import Column as SqlColumn
from sqlalchemy.types import TypeEngine

from pancode.kernel.rows import Record
from pancode.store.shape import Kind, RecordShape, shape_of

# PostgreSQL orders text by locale by default; the ledger's order is by code point.
_TEXT: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")
_TYPES: dict[Kind, TypeEngine[Any]] = {
    Kind.TEXT: _TEXT,
    Kind.INTEGER: BigInteger(),
    Kind.BOOLEAN: Boolean(create_constraint=False),
    Kind.DECIMAL: _TEXT,
    Kind.JSON: _TEXT,
}
_OLD = {"lease": "fence", "job": "order"} | {f"reserved_{u}": f"held_{u}" for u in ("usd", "tokens", "ms")}
"""Column names that differ from the name of their field."""
NAMING = {"ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"}


def _make_table(metadata: MetaData, shape: RecordShape) -> Table:
    columns = [
        SqlColumn(
            _OLD.get(column.name, column.name),
            _TYPES[column.kind],
            nullable=column.nullable,
            primary_key=column.name in shape.key,
            autoincrement=False,
            key=column.name,
        )
        for column in shape.columns
    ]
    # The primary key's index already covers the first part of the key.
    indexed = [name for name in shape.record.TABLE.indexes if name != shape.key[0]]
    return Table(shape.name, metadata, *columns, *[Index(None, *name.split(",")) for name in indexed])


class Schema:
    """The SQL tables of a ledger: those of the engine's records and of the features' records."""

    def __init__(self, kinds: Iterable[type[Record]]) -> None:
        self.metadata = MetaData(naming_convention=NAMING)
        self.tables = {kind: _make_table(self.metadata, shape_of(kind)) for kind in kinds}
