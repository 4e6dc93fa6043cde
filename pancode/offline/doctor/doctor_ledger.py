"""Checks the ledger, in its file or in PostgreSQL: engine, size, soundness, schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from node_agent.wire.clock import SystemClock
from pancode.config.load import ConfigPlaces, load
from pancode.errors import PancodeError
from pancode.offline.doctor import Check, bad, good
from pancode.plain import counted
from pancode.store.inspection import REVISIONS, look_at
from pancode.store.migrations import HEAD


def ledger(home: Path, environ: Mapping[str, str]) -> Check:
    """Opened for reading only, beside a coordinator that may run."""
    try:
        loaded = load(ConfigPlaces(home), environ)
    except PancodeError:
        return bad("ledger", "warning", "unknown: the settings cannot be read", "mend the settings first")
    url = loaded.settings.ledger.url
    return (
        _in_file(home / "ledger.db")
        if url is None
        else _there(url, loaded.origin("ledger.url"), loaded.settings.ledger.password_file)
    )


def _in_file(path: Path) -> Check:
    if not path.exists():
        return good("ledger", "made at the first start")
    try:
        seen = look_at(path)
    except sqlite3.Error as exc:
        back = f"put a copy of {path} back (docs/howto/backup.md); it is read again at the next start"
        return bad("ledger", "error", f"{path}: {exc}", back)
    if seen.wrong:
        return bad("ledger", "error", f"{path} is damaged: {seen.wrong}", f"put a copy of {path} back")
    if seen.revision not in REVISIONS:
        return _newer(str(path), seen.revision)
    return good(
        "ledger",
        f"SQLite, {path}, {seen.size >> 20} MiB, {counted(seen.runs, 'run')}, sound{_old(seen.revision)}",
    )


def _there(url: str, origin: str, password_file: str | None) -> Check:
    # Only who uses another database loads what speaks to it.
    from pancode.store.look_postgres import look_there
    from pancode.store.postgres import database_of

    try:
        database = database_of(url, origin, password_file)
        seen = look_there(database, SystemClock())
    except PancodeError as error:
        return bad("ledger", "error", f"{error}: {error.why}".strip(": "), error.fix)
    place = f"PostgreSQL {seen.server}, {database.place} ({origin}), answers in {seen.answer_ms} ms"
    if seen.revision is None:
        return good("ledger", f"{place}; empty, made at the first start")
    if seen.revision not in REVISIONS:
        return _newer(database.place, seen.revision)
    return good("ledger", f"{place}, {seen.size >> 20} MiB, {counted(seen.runs, 'run')}{_old(seen.revision)}")


def _newer(place: str, revision: str) -> Check:
    newer = f"{place} has the schema {revision}, which this version does not know"
    return bad("ledger", "error", newer, "install the version that wrote it, or a newer one")


def _old(revision: str) -> str:
    return "" if revision == HEAD else f"; schema {revision}, brought up to {HEAD} at the next start"
