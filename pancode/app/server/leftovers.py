"""Ends what a killed coordinator has left on this machine: its Valkey, which outlives it on purpose."""

from __future__ import annotations

from pathlib import Path

from node_agent.wire.clock import SystemClock, SystemIds
from pancode.app.server.single_instance import AlreadyRunningError, HomeLock
from pancode.queue.valkey.embedded_server import EmbeddedValkey
from pancode.queue.valkey.process import read_record


def end_left(home: Path) -> int | None:
    """End a Valkey that was left; return its pid. None: none ran, or a coordinator has taken it over."""
    folder = home / "valkey"
    record = read_record(folder / "server.json")
    if record is None or not record.alive():
        return None
    valkey = EmbeddedValkey(folder, SystemClock(), SystemIds())
    if not valkey.alive():  # it is the server of a home of which this one is a copy
        return None
    lock = HomeLock(home)
    try:
        lock.take()
    except AlreadyRunningError:
        return None
    try:
        valkey.stop()
    finally:
        lock.leave()
    return record.pid
