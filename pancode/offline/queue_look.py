"""Looks at the fleet's Redis without a coordinator: our own counts, and RQ's `info` made harmless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from node_agent.wire.clock import SystemIds
from pancode.bus.inspection import counts, reading, rq_info
from pancode.bus.valkey.access import RedisAccess
from pancode.bus.valkey.embedded import known_access
from pancode.config.load import ConfigPlaces, load
from pancode.errors import UsageError
from pancode.wiring.faces import redis_in

COMMANDS = ("info", "--help", "--version")
"""The commands of RQ that only look: the others write, or run the function that a job names."""


def info(home: Path, environ: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """UnavailableError where no Redis answers."""
    with _reader(home, environ) as access:
        return counts(access)


def rq(words: Sequence[str], home: Path, environ: Mapping[str, str], out: TextIO) -> None:
    """UsageError for a command of RQ's that does more than look."""
    if not words or words[0] not in COMMANDS:
        raise UsageError(
            f"{words[0] if words else 'rq'} is not run on a fleet",
            why="RQ's other commands write, or run the function that a job names; nodes may write jobs",
            fix="pancode queue rq info; work is moved by: pancode queue, pancode runs",
        )
    with _reader(home, environ) as access:
        rq_info(access, words, out)


@contextmanager
def _reader(home: Path, environ: Mapping[str, str]) -> Iterator[RedisAccess]:
    theirs = redis_in(load(ConfigPlaces(home), environ))
    with reading(theirs or known_access(home / "valkey"), SystemIds()) as access:
        yield access
