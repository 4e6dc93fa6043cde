"""Stops what a killed coordinator left running on this machine: its Valkey, which outlives it on purpose."""

from __future__ import annotations

from pathlib import Path

from node_agent.wire.clock import SystemClock, SystemIds
from pancode.kernel.host.single_instance import AlreadyRunningError, HomeLock
from pancode.queue.valkey.embedded_server import EmbeddedValkey
from pancode.queue.valkey.process import read_record


def end_left(home: Path) -> int | None:
    """Stop a leftover Valkey; return its pid. None: no Valkey ran, or a coordinator is using it."""
    folder = home / "valkey"
    record = read_record(folder / "server.json")
    if record is None or not record.alive():
        return None
    valkey = EmbeddedValkey(folder, SystemClock(), SystemIds())
    if not valkey.alive():  # this home is a copy, and the server belongs to the original
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
