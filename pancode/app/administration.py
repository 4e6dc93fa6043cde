"""Manual administration of a fleet's stores: move the ledger, write Redis users, inspect queues."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from node_agent.wire.clock import SystemClock, SystemIds
from pancode.app.build import redis_in
from pancode.app.single_instance import HomeLock
from pancode.config.agents.presets import NO_PRESET
from pancode.config.load import ConfigPlaces, load
from pancode.kernel.errors import ConfigError, UsageError
from pancode.kernel.node import USER_PREFIX
from pancode.queue.inspection import open_read_access, read_counts, rq_info
from pancode.queue.valkey.access import RedisAccess
from pancode.queue.valkey.embedded_server import known_access
from pancode.queue.valkey.layout import users_text

FILE = "file"
FLAG = "--from"


def move_ledger(
    home: Path, environ: Mapping[str, str], source: str, password_file: str | None
) -> dict[str, Any]:
    """Move the ledger to the configured place. `source`: `file` or a PostgreSQL URL. AlreadyRunningError."""
    # Only a move imports the database libraries.
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
        moved = move(begun, target, SystemClock().wall_ms())
    finally:
        lock.leave()
    tables = [{"table": m.table, "rows": m.rows} for m in moved]
    old = str(kept_as(path)) if begun == path else place_of(begun)
    return {"from": place_of(begun), "to": place_of(target), "kept": old, "tables": tables}


STDIN = "-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def users_file(user: str, password_file: str, known: str | None) -> str:
    """Return the Redis users file. `known`: the existing file, `-` for stdin. UsageError, ConfigError."""
    if not _NAME.fullmatch(user) or user == "default" or user.startswith(USER_PREFIX):
        raise UsageError(
            f"{user!r} is not a valid coordinator user",
            why=f"use only letters, digits, - _ and .; default and {USER_PREFIX}... are reserved",
            fix="for example: --user pancode",
        )
    password = _read(password_file, "--password-file").rstrip("\r\n")
    if not password:
        raise ConfigError(f"{password_file} is empty", fix=f"openssl rand -hex 24 > {password_file}")
    return users_text("" if known is None else _read(known, "--known"), user, password)


def _read(path: str, option: str) -> str:
    try:
        return sys.stdin.read() if path == STDIN else Path(path).expanduser().read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read {option} {path}", why=str(error), fix="choose another file"
        ) from error


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
            fix="pancode admin queue --rq info; to manage work: pancode queue, pancode runs",
        )
    with _open_reader(home, environ) as access:
        rq_info(access, words, out)


@contextmanager
def _open_reader(home: Path, environ: Mapping[str, str]) -> Iterator[RedisAccess]:
    theirs = redis_in(load(ConfigPlaces(home), environ))
    with open_read_access(theirs or known_access(home / "valkey"), SystemIds()) as access:
        yield access
