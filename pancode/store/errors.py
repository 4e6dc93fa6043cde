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
    for prefixes, build in _MEANINGS:
        if name.startswith(prefixes):
            return build(place, why)
    return PancodeError(f"the ledger at {place} refused a statement", why=why, fix="pancode doctor")


def _make_full_error(place: str, why: str) -> PancodeError:
    return UnavailableError(
        f"the disk of the ledger at {place} is full",
        why=why,
        fix=f"free some space (df -h {place}), then try again: no partial data was written",
        code="ledger_disk_full",
    )


def _make_locked_error(place: str, why: str) -> PancodeError:
    return UnavailableError(
        f"the ledger at {place} is in use by another process",
        why=why,
        fix=f"find that process: fuser -v {place}",
        code="ledger_locked",
    )


def _make_damaged_error(place: str, why: str) -> PancodeError:
    return LedgerDamagedError(
        f"the ledger at {place} is damaged",
        why=why,
        fix=f"keep a copy, then try: sqlite3 {place} .recover | sqlite3 {place}.recovered",
    )


def _make_access_error(place: str, why: str) -> PancodeError:
    return ConfigError(
        f"cannot open the ledger at {place} for writing",
        why=why,
        fix=f"give yourself write permission to it and its directory (see: ls -ld {place}), or set "
        "PANCODE_HOME",
        code="ledger_forbidden",
    )


def _make_io_error(place: str, why: str) -> PancodeError:
    return UnavailableError(
        f"the disk of the ledger at {place} has I/O errors",
        why=why,
        fix="see the kernel log (dmesg | tail); no partial data was written",
        code="ledger_io",
    )


_MEANINGS = (
    (("SQLITE_FULL",), _make_full_error),
    (("SQLITE_BUSY", "SQLITE_LOCKED"), _make_locked_error),
    (("SQLITE_CORRUPT", "SQLITE_NOTADB"), _make_damaged_error),
    (("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"), _make_access_error),
    (("SQLITE_IOERR",), _make_io_error),
)
