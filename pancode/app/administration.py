"""Manual administration of a fleet's stores: move the ledger, inspect queues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from node_agent.wire.clock import SystemClock, SystemIds
from pancode.app.build import redis_in
from pancode.config.agents.presets import NO_PRESET
from pancode.config.load import ConfigPlaces, load
from pancode.kernel.errors import UsageError
from pancode.kernel.host.single_instance import HomeLock
from pancode.queue.inspection import open_read_access, read_counts, rq_info
from pancode.queue.valkey.access import RedisAccess
from pancode.queue.valkey.embedded_server import known_access

FILE = "file"
FLAG = "--from"


def move_ledger(
    home: Path, environ: Mapping[str, str], source: str, password_file: str | None
) -> dict[str, Any]:
    """Move the ledger to the configured place. `source`: `file` or a PostgreSQL URL. AlreadyRunningError."""
    # Only a move imports the database libraries.
    from pancode.app.schema import SCHEMA
    from pancode.store.move import kept_as, move, place_of
    from pancode.store.postgres import database_of

    loaded, path = load(ConfigPlaces(home), environ, preset=NO_PRESET), home / "ledger.db"
    settings = loaded.settings.ledger
    origin = loaded.origin("ledger.url")
    target = database_of(settings.url, origin, settings.password_file) if settings.url is not None else path
    begun = path if source == FILE else database_of(source, FLAG, password_file)
    if place_of(begun) == place_of(target):
        raise UsageError(
            f"the source and the target of the ledger are the same: {place_of(target)}",
            why="the settings name the target; --from names the source",
            fix="set PANCODE_DATABASE_URL or ledger.url to the new address first (unset both to use a file)",
        )
    lock = HomeLock(home)
    lock.take()
    try:
        moved = move(begun, target, SCHEMA, SystemClock().wall_ms())
    finally:
        lock.leave()
    tables = [{"table": m.table, "rows": m.rows} for m in moved]
    old = str(kept_as(path)) if begun == path else place_of(begun)
    return {"from": place_of(begun), "to": place_of(target), "kept": old, "tables": tables}


COMMANDS = ("info", "--help", "--version")
"""The read-only commands of RQ; RQ's others write to Redis, or run the function that a job names."""


def count_jobs(home: Path, environ: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return RQ's job counts. Raises UnavailableError if Redis does not answer."""
    with _open_reader(home, environ) as access:
        return read_counts(access)


def run_rq(words: Sequence[str], home: Path, environ: Mapping[str, str], out: TextIO) -> None:
    """Run a command of RQ. Raises UsageError for one that is not read-only."""
    if not words or words[0] not in COMMANDS:
        raise UsageError(
            f"{words[0] if words else 'rq'} is not available in a fleet",
            why="RQ's other commands write to Redis or run functions that a node could have placed there",
            fix="pancode admin queue --rq info; to manage work: pancode runs",
        )
    with _open_reader(home, environ) as access:
        rq_info(access, words, out)


@contextmanager
def _open_reader(home: Path, environ: Mapping[str, str]) -> Iterator[RedisAccess]:
    theirs = redis_in(load(ConfigPlaces(home), environ))
    with open_read_access(theirs or known_access(home / "valkey"), SystemIds()) as access:
        yield access
