"""Finds the time zone of the machine where a person types."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pancode.errors import UsageError
from pancode.work.schedule.times import zone_of

_LOCALTIME, _NAMED = "/etc/localtime", "/etc/timezone"
_FOLDER = "zoneinfo/"


def local_zone(environ: Mapping[str, str]) -> str:
    """A name such as Europe/Berlin; UTC where the machine does not say one that is known."""
    given = environ.get("TZ", "").removeprefix(":").rpartition(_FOLDER)[2]
    return next((name for name in (given, _linked(), _written()) if name and _is_known(name)), "UTC")


def _linked() -> str:
    _, found, name = os.path.realpath(_LOCALTIME).rpartition(_FOLDER)
    return name if found else ""


def _written() -> str:
    try:
        return Path(_NAMED).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _is_known(name: str) -> bool:
    try:
        zone_of(name)
    except UsageError:
        return False
    return True
