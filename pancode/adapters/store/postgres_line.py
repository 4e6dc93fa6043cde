"""PostgreSQL's way to speak in a transaction: all in one pipeline, and only what is read is waited for.

A change is sent and not waited for: what could not be done is told by the next answer that is read, or by
the one to COMMIT, which comes with all the others. Loaded only where the ledger is in PostgreSQL.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from pancode.adapters.store.line import Rows, taken
from pancode.adapters.store.statements import Prepared, Values
from pancode.errors import PancodeError, UnavailableError

_BEGIN = "BEGIN ISOLATION LEVEL SERIALIZABLE"
_NAME = "SELECT pg_current_xact_id()::text"
_FATE = "SELECT pg_xact_status(%s::text::xid8)"


class PostgresLine:
    """Over one session until that is lost, then over a new one. A pancode.adapters.store.line.Line."""

    def __init__(self, connection: Connection, sole: bool) -> None:
        """`sole`: a new session has the right to write, so that what an older one did is over."""
        self._connection = connection
        self._sole = sole
        self._driver: Any = None
        self._pipe: Any = None
        self._open = ExitStack()
        self._begun = False
        self._asked: Any = None
        """Of a change, the cursor that brings its number on the server."""
        self._new: list[tuple[Any, str]] = []

    def begin(self) -> int:
        """Sends nothing yet: a transaction that knows all that it reads costs no round trip."""
        driver = self._connection.connection.driver_connection
        if driver is not self._driver:
            self._enter(driver)
        self._begun, self._asked = False, None
        self._new = []
        backend: int = self._driver.info.backend_pid
        return backend

    def ask(self, prepared: Prepared, values: Values) -> Rows:
        try:
            found: Rows = self._send(prepared.sql, prepared.named(values)).fetchall()
        except psycopg.Error as exc:
            raise self._told(prepared.sql, exc) from exc
        return found

    def tell(self, prepared: Prepared, values: Values) -> None:
        self._change(prepared, values)

    def insert(self, prepared: Prepared, values: Values, name: str) -> None:
        self._change(prepared, values, name)

    def commit(self) -> None:
        if not self._begun:
            return
        number = self._number()
        try:
            ended = self._send("COMMIT")
            self._pipe.sync()
        except psycopg.Error as exc:
            error = self._told("COMMIT", exc)
            if isinstance(error, DBAPIError) and self._driver is None and self._was_made(number):
                return
            raise error from exc
        if ended.statusmessage != "COMMIT":  # somebody went on after an error
            raise PancodeError("a ledger transaction that had failed was not committed")
        self._begun = False

    def rollback(self) -> None:
        if self._driver is None or not self._begun:
            return
        self._begun = False
        try:
            with suppress(psycopg.Error):
                self._pipe.sync()  # what was sent after an error is skipped up to here
            self._send_now("ROLLBACK")
            self._pipe.sync()
        except psycopg.Error as exc:
            self._lose(exc)

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._open.close()
        self._driver = self._pipe = None

    # -- inside ----------------------------------------------------------------------------------

    def _enter(self, driver: Any) -> None:
        try:
            driver.autocommit = True  # we say when
            self._open = ExitStack()
            self._pipe = self._open.enter_context(driver.pipeline())
        except psycopg.Error as exc:
            raise DBAPIError("pipeline", None, exc) from exc
        self._driver = driver

    def _send(self, sql: str, values: dict[str, Any] | None = None, name: str | None = None) -> Any:
        if not self._begun:
            self._begun = True
            self._send_now(_BEGIN)
        return self._send_now(sql, values, name)

    def _send_now(self, sql: str, values: dict[str, Any] | None = None, name: str | None = None) -> Any:
        """`name`: of a new row. It is noted before it goes out: any later sending may bring its refusal."""
        if self._driver is None:
            raise psycopg.OperationalError("the connection is closed")
        cursor = self._driver.cursor()
        if name is not None:
            self._new.append((cursor, name))
        return cursor.execute(sql, values)

    def _change(self, prepared: Prepared, values: Values, name: str | None = None) -> None:
        try:
            self._send(prepared.sql, prepared.named(values), name)
            if self._asked is None and self._sole:  # a later read brings the answer along
                self._asked = self._send(_NAME)
        except psycopg.Error as exc:
            raise self._told(prepared.sql, exc) from exc

    def _number(self) -> str | None:
        """Of a change: it must be here before COMMIT goes out, or nobody could ask what became of that."""
        if self._asked is None:
            return None
        try:
            return str(self._asked.fetchone()[0])
        except psycopg.Error as exc:
            raise self._told(_NAME, exc) from exc

    def _was_made(self, number: str | None) -> bool:
        """The answer to COMMIT was lost: a new session asks what became of it. False, too, when nobody knows.

        The new one has the right to write, so the older one has ended. What has changed nothing is made.
        """
        if number is None:
            return self._sole
        with suppress(DBAPIError, psycopg.Error, UnavailableError):
            self.begin()
            (fate,) = self._driver.execute(_FATE, (number,)).fetchone()
            self._pipe.sync()
            return bool(fate == "committed")
        return False

    def _told(self, sql: str, exc: psycopg.Error) -> Exception:
        """As the ledger tells it; a session that is gone is let go."""
        if self._driver is None or self._driver.closed:
            self._lose(exc)
        elif isinstance(exc, psycopg.errors.UniqueViolation):
            culprit = next((name for cursor, name in self._new if cursor.pgresult is None), "a row")
            return taken(culprit)
        return DBAPIError(sql, None, exc)

    def _lose(self, exc: psycopg.Error) -> None:
        self.close()
        if not self._connection.invalidated:
            self._connection.invalidate(exc)
