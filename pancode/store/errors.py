"""Translates database errors into messages with a fix for the owner of the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError


class LedgerDamagedError(UnavailableError):
    """The ledger is damaged."""

    code = "ledger_damaged"
    retryable = False


@contextmanager
def translate_database_errors(
    place: str, judge: Callable[[BaseException | None], PancodeError]
) -> Iterator[None]:
    """Raise every database error in the block as a PancodeError about the ledger at `place`."""
    try:
        yield
    except DBAPIError as exc:
        raise judge(exc.orig) from exc
    except sqlite3.Error as exc:
        raise judge(exc) from exc
    except SQLAlchemyError as exc:
        raise PancodeError(f"cannot use the ledger at {place}", why=str(exc)) from exc


def explain_error(place: str, error: BaseException | None) -> PancodeError:
    """Return the error for the ledger's owner, selected by the name of SQLite's error."""
    name = getattr(error, "sqlite_errorname", None) or ""
    why = f"{name}: {error}" if name else str(error)
    for prefixes, kind, message, fix, code in _MEANINGS:
        if name.startswith(prefixes):
            return kind(message.format(place=place), why=why, fix=fix.format(place=place), code=code)
    return PancodeError(f"the ledger at {place} refused a statement", why=why, fix="pancode doctor")


_MEANINGS: tuple[tuple[tuple[str, ...], type[PancodeError], str, str, str], ...] = (
    (
        ("SQLITE_FULL",),
        UnavailableError,
        "the disk of the ledger at {place} is full",
        "free some space (df -h {place}), then try again: no partial data was written",
        "ledger_disk_full",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED"),
        UnavailableError,
        "the ledger at {place} is in use by another process",
        "find that process: fuser -v {place}",
        "ledger_locked",
    ),
    (
        ("SQLITE_CORRUPT", "SQLITE_NOTADB"),
        LedgerDamagedError,
        "the ledger at {place} is damaged",
        "keep a copy, then try: sqlite3 {place} .recover | sqlite3 {place}.recovered",
        "ledger_damaged",
    ),
    (
        ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"),
        ConfigError,
        "cannot open the ledger at {place} for writing",
        "give yourself write permission to it and its directory (see: ls -ld {place}), or set PANCODE_HOME",
        "ledger_forbidden",
    ),
    (
        ("SQLITE_IOERR",),
        UnavailableError,
        "the disk of the ledger at {place} has I/O errors",
        "see the kernel log (dmesg | tail); no partial data was written",
        "ledger_io",
    ),
)
