"""Creates a table from one line of text; used by the first revision, so it never changes its meaning."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op


def text() -> sa.types.TypeEngine[str]:
    """Text in the order of its code points, whatever the database's locale."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def create_table(name: str, key: str, indexes: str, columns: str) -> None:
    """Create a table with its primary key and indexes. All three lists are split at blanks. `key`: the
    columns of the primary key; `indexes`: comma-separated columns of each index; `columns`:
    `name:text|int|bool`, followed by `?` if NULL is allowed."""
    made = [_column(spec, key.split()) for spec in columns.split()]
    op.create_table(name, *made, sa.PrimaryKeyConstraint(*key.split(), name=f"pk_{name}"))
    for index in indexes.split():
        fields = index.split(",")
        op.create_index(f"ix_{name}_{fields[0]}", name, fields)


def _column(spec: str, key: list[str]) -> sa.Column[object]:
    name, _, kind = spec.partition(":")
    kinds: dict[str, sa.types.TypeEngine[Any]] = {
        "text": text(),
        "int": sa.BigInteger(),
        "bool": sa.Boolean(),
    }
    if name in key:
        return sa.Column(name, kinds[kind], nullable=False, autoincrement=False)
    return sa.Column(name, kinds[kind.rstrip("?")], nullable=kind.endswith("?"))
