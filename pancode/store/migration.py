"""Creates the tables of an empty database and upgrades an older one, each in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect

from pancode.kernel.errors import ConfigError
from pancode.store.migrations import HEAD
from pancode.store.tables import Schema

VERSION_TABLE = "alembic_version"


@dataclass(frozen=True, slots=True)
class Revisions:
    """The newest schema revision, and the folders of all revisions. `folders` None: the shipped ones, whose
    result for an empty database is known: the tables of the records."""

    head: str = HEAD
    folders: tuple[Path, ...] | None = None


def bring_up_to_date(engine: Engine, place: str, schema: Schema, history: Revisions) -> None:
    """Migrate the ledger to the newest revision. Idempotent. ConfigError for a newer ledger. An older ledger
    file is first copied within its folder."""
    with engine.connect() as connection, connection.begin():
        found = revision_of(connection)
        if found is None and history.folders is None:
            _create(connection, schema)
            return
    if found == history.head:
        return
    if found is not None:
        from alembic.util import CommandError

        from pancode.store.migrations.script import SHIPPED, scripts

        try:
            scripts(history.folders or SHIPPED).get_revision(found)
        except CommandError as exc:
            raise ConfigError(
                f"the ledger at {place} was written by a newer version of PanCode",
                why=f"its schema is {found}; this version supports up to {history.head}",
                fix="install the newer version again, or set PANCODE_HOME to another directory",
                code="ledger_newer",
            ) from exc
        _save_copy(engine, place, found, history)
    with engine.connect() as connection, connection.begin():
        _upgrade(connection, history)


def revision_of(connection: Connection) -> str | None:
    """Return the schema's revision, or None for an empty database."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()


def _save_copy(engine: Engine, place: str, revision: str, history: Revisions) -> None:
    if engine.dialect.name != "sqlite":
        return
    copy = Path(f"{place}.{revision}-before-{history.head}")
    copy.unlink(missing_ok=True)
    with engine.connect() as connection:
        # VACUUM cannot run in a transaction, and the engine opens one implicitly, so use the driver directly.
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("VACUUM INTO ?", (str(copy),))
    copy.chmod(0o600)


def _create(connection: Connection, schema: Schema) -> None:
    """Create the tables that all revisions result in, without Alembic, which would stay in memory."""
    schema.metadata.create_all(connection, checkfirst=False)
    column = "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
    connection.exec_driver_sql(f"CREATE TABLE {VERSION_TABLE} ({column})")
    connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('{HEAD}')")


def _upgrade(connection: Connection, history: Revisions) -> None:
    # Alembic is slow to import, and most starts do not need it.
    from alembic import command

    from pancode.store.migrations.script import SHIPPED, config

    command.upgrade(config(connection, history.folders or SHIPPED), "head")
