"""Remembers that a person took the fleet down, until a coordinator starts again."""

from __future__ import annotations

import time
from pathlib import Path

DOWN = "run/down"


def stay_down(home: Path) -> None:
    """Note that a person took the fleet down: who only looks at it does not start it again."""
    if (home / "run").is_dir():
        (home / DOWN).touch(mode=0o600)


def down_since(home: Path) -> str | None:
    """When a person took it down, in UTC; None while a coordinator runs, or has ended by itself."""
    try:
        when = (home / DOWN).stat().st_mtime
    except OSError:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def is_up(home: Path) -> None:
    """A coordinator starts."""
    (home / DOWN).unlink(missing_ok=True)
