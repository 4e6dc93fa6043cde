"""Moves a ledger between databases: copies all rows in one transaction, checks their number, then commits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Table, func, select

from pancode.kernel.errors import ConfigError, NotFoundError, PancodeError
from pancode.kernel.records import Setting
from pancode.store.errors import translate_database_errors
from pancode.store.ledger import BUSY_MS, open_engine
from pancode.store.migration import Revisions, bring_up_to_date
from pancode.store.postgres import Database
from pancode.store.tables import Schema

Where = Path | Database
MOVED = "moved_to"
"""The setting in a database that is no longer the ledger: the place of the new one."""
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Moved:
    """A copied table and its number of rows."""

    table: str
    rows: int


def move(source: Where, target: Where, schema: Schema, wall_ms: int) -> list[Moved]:
    """Copy all rows, check their number, commit, and mark the source as moved (a file is renamed).

    NotFoundError if the source has no ledger, ConfigError if the target has one, and errors of opening one,
    as while a coordinator uses it. After an error nothing has changed; the move can be repeated.
    """
    if isinstance(source, Path) and not source.exists():
        raise NotFoundError(f"no ledger found at {source}", fix="pancode doctor")
    with _open(source, schema) as old:
        _check_source(old, place_of(source), schema)
        with _open(target, schema) as new:
            _check_target(new, place_of(target), schema)
            done = [_copy_table(old, new, table) for table in schema.tables.values()]
            new.commit()
        _mark(old, schema.tables[Setting], place_of(target), wall_ms)
    if isinstance(source, Path):
        source.rename(kept_as(source))
    return done


def place_of(where: Where) -> str:
    """Return the place as users see it, without a password."""
    return where.place if isinstance(where, Database) else str(where)


def kept_as(path: Path) -> Path:
    """Return the name of a ledger file after it was moved."""
    return path.with_name(f"{path.name}.moved")


@contextmanager
def _open(where: Where, schema: Schema) -> Iterator[Connection]:
    """Open a transaction on a ledger with this version's tables; it is rolled back unless it is committed."""
    engine, place, judge = open_engine(where, BUSY_MS, sole=True)
    try:
        with translate_database_errors(place, judge):
            bring_up_to_date(engine, place, schema, Revisions())
            with engine.connect() as connection:
                yield connection
    finally:
        engine.dispose()


def _copy_table(old: Connection, new: Connection, table: Table) -> Moved:
    every = select(table).order_by(*table.primary_key.columns)
    found = old.execute(every, execution_options={"yield_per": _AT_ONCE})
    for rows in found.partitions():  # by position: the names in a result are not always those of `table.c`
        new.execute(table.insert(), [dict(zip(table.c.keys(), row, strict=True)) for row in rows])
    before, after = _count(old, table), _count(new, table)
    if before != after:
        raise PancodeError(
            f"table {table.name} has {before} rows, but {after} after the copy; nothing was moved",
            fix="keep the ledger where it is, and report this as a bug",
        )
    return Moved(table.name, before)


def _check_source(old: Connection, source: str, schema: Schema) -> None:
    if not any(_count(old, table) for table in schema.tables.values()):
        raise NotFoundError(
            f"the ledger at {source} is empty", fix="choose another source: pancode admin ledger --help"
        )
    settings = schema.tables[Setting]
    gone = old.execute(select(settings.c.value).where(settings.c.name == MOVED)).scalar()
    if gone is not None:
        raise ConfigError(f"the ledger at {source} was moved to {gone}", fix="use the ledger at that place")


def _check_target(new: Connection, target: str, schema: Schema) -> None:
    full = {table.name: count for table in schema.tables.values() if (count := _count(new, table))}
    if full:
        why = ", ".join(f"{count} rows in {name}" for name, count in sorted(full.items())[:3])
        raise ConfigError(
            f"a ledger already exists at {target}",
            why=why,
            fix="choose an empty database, or remove that ledger first; nothing was changed",
            code="ledger_not_empty",
        )


def _count(connection: Connection, table: Table) -> int:
    found: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return found


def _mark(old: Connection, settings: Table, target: str, wall_ms: int) -> None:
    row = {"name": MOVED, "value": json.dumps(target), "changed_ms": wall_ms, "changed_by": "ledger move"}
    old.execute(settings.insert(), row)
    old.commit()
