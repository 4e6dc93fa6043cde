"""Paths of a gateway's files in its attempt's folder, and their content. Standard library only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from node_agent.gateway.counting import Count
from node_agent.shim import process

FOLDER, RECORD, DOOR, COUNT, LOG = "gateway", "record", "door", "count", "log"
GATE, SOCKET = "gate", "model.sock"
"""The folder that a sandbox may see, with nothing in it but the socket."""


def read_door(attempt: Path) -> tuple[int, str] | None:
    """Port and token, as they were given out."""
    raw = _read(attempt / FOLDER / DOOR)
    try:
        return None if raw is None else (int(raw["port"]), str(raw["token"]))
    except (KeyError, TypeError, ValueError):
        return None


def write_door(attempt: Path, port: int, token: str) -> None:
    replace_file(attempt / FOLDER / DOOR, json.dumps({"port": port, "token": token}).encode())


def read_count(attempt: Path) -> Count | None:
    """The last written content; None when there is none, or a crash of the machine has torn it."""
    try:
        return Count.from_json((attempt / FOLDER / COUNT).read_bytes())
    except (OSError, ValueError):
        return None


def write_record(attempt: Path) -> None:
    """Writes this process's identity over that of an earlier one."""
    replace_file(attempt / FOLDER / RECORD, json.dumps(_own()).encode())


def is_own(attempt: Path) -> bool:
    """Check whether the record still names this process."""
    return _read(attempt / FOLDER / RECORD) == _own()


def running(attempt: Path) -> process.Proc | None:
    """The gateway of this attempt, if it lives."""
    return alive(attempt / FOLDER / RECORD)


def alive(record: Path) -> process.Proc | None:
    """The process that such a record names, a shim's too, if it lives."""
    raw = _read(record)
    try:
        if raw is None or not process.is_alive(raw["boot"], raw["pid"], raw["start"]):
            return None
        return int(raw["pid"]), int(raw["start"])
    except (KeyError, TypeError, ValueError):
        return None


def replace_file(path: str | Path, data: bytes) -> None:
    """Whole or not at all for whoever reads it. Not synced: only a crash of the machine can lose it."""
    fresh = f"{path}.{os.getpid()}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.replace(fresh, path)


def _own() -> dict[str, Any]:
    found = process.stat(os.getpid())
    return {"boot": process.boot_id(), "pid": os.getpid(), "start": found.start if found else 0}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None
