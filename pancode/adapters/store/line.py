"""How one transaction speaks to its database; SQLite's way: straight to the driver, each answer at once."""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol

from pancode.adapters.store.engine import BEGIN
from pancode.adapters.store.statements import Prepared, Values
from pancode.errors import ConflictError

Rows = list[tuple[Any, ...]]


class Line(Protocol):
    """One transaction at a time. Errors are the driver's, or of SQLAlchemy."""

    def begin(self) -> int:
        """A number that changes when another connection may have written since."""

    def ask(self, prepared: Prepared, values: Values) -> Rows:
        """What it says. What was told before and could not be done is raised here, or at `commit`."""

    def tell(self, prepared: Prepared, values: Values) -> None:
        """A change whose answer nobody waits for."""

    def insert(self, prepared: Prepared, values: Values, name: str) -> None:
        """A new row; ConflictError, now or at the latest at `commit`, when its key is taken."""

    def commit(self) -> None:
        """Durable when it returns; after an error call `rollback`."""

    def rollback(self) -> None:
        """Nothing of it is there. Idempotent; never raises for a connection that is gone."""

    def close(self) -> None:
        """Let go of what the line keeps beside the connection."""


def taken(name: str) -> ConflictError:
    return ConflictError(f"{name} is there already")


class FileLine:
    """As the engine would do it, at a tenth of the cost."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver

    def begin(self) -> int:
        self._driver.execute(BEGIN)
        version: int = self._driver.execute("PRAGMA data_version").fetchone()[0]
        return version

    def ask(self, prepared: Prepared, values: Values) -> Rows:
        return self._driver.execute(prepared.sql, prepared.row(values)).fetchall()

    def tell(self, prepared: Prepared, values: Values) -> None:
        self._driver.execute(prepared.sql, prepared.row(values))

    def insert(self, prepared: Prepared, values: Values, name: str) -> None:
        if self._driver.execute(prepared.sql, prepared.row(values)).rowcount == 0:
            raise taken(name)

    def commit(self) -> None:
        self._driver.execute("COMMIT")

    def rollback(self) -> None:
        if self._driver.in_transaction:  # a full disk ends it by itself
            self._driver.execute("ROLLBACK")

    def close(self) -> None:
        """It keeps nothing."""
