"""Moves the ledger of a home to the place that the settings now name; no coordinator may run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node_agent.wire.clock import SystemClock
from pancode.config.load import ConfigPlaces, load
from pancode.config.presets import NO_PRESET
from pancode.errors import UsageError
from pancode.offline.server.single_instance import HomeLock

FILE = "file"
FLAG = "--from"


def move_ledger(
    home: Path, environ: Mapping[str, str], source: str, password_file: str | None
) -> dict[str, Any]:
    """`source`: `file`, or the address of a PostgreSQL. AlreadyRunningError, and the errors of moving."""
    # Only who moves one loads what speaks to databases.
    from pancode.store.move import kept_as, move, place_of
    from pancode.store.postgres import database_of

    loaded, path = load(ConfigPlaces(home), environ, preset=NO_PRESET), home / "ledger.db"
    settings = loaded.settings.ledger
    origin = loaded.origin("ledger.url")
    target = database_of(settings.url, origin, settings.password_file) if settings.url is not None else path
    begun = path if source == FILE else database_of(source, FLAG, password_file)
    if place_of(begun) == place_of(target):
        raise UsageError(
            f"the ledger is to go to {place_of(target)}, where it comes from",
            why="the settings say where it is to be, --from where it was",
            fix="set PANCODE_DATABASE_URL or ledger.url to the new place first (neither, for the file)",
        )
    lock = HomeLock(home)
    lock.take()
    try:
        moved = move(begun, target, SystemClock().wall_ms())
    finally:
        lock.leave()
    tables = [{"table": m.table, "rows": m.rows, "digest": m.digest} for m in moved]
    old = str(kept_as(path)) if begun == path else place_of(begun)
    return {"from": place_of(begun), "to": place_of(target), "kept": old, "tables": tables}
