"""The mark in a home that its fleet was taken down: a command that only looks does not start it then."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

MARK = "run/down"


@dataclass(frozen=True, slots=True)
class Down:
    """The person who took it down, and the time, as text."""

    by: str
    at: str


def mark(root: Path, by: str) -> None:
    """Taken down by this person. A home that is gone needs no mark."""
    with suppress(OSError):
        (root / MARK).write_text(by)


def read(root: Path) -> Down | None:
    """The mark; None when the fleet may be started by whoever needs it."""
    try:
        by, state = (root / MARK).read_text(), (root / MARK).stat()
    except (OSError, ValueError):
        return None
    return Down(by, datetime.fromtimestamp(state.st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC"))


def clear(root: Path) -> None:
    """It is up, or to be up, again."""
    with suppress(OSError):
        (root / MARK).unlink()
