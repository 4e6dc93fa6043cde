"""Checks whether a process is the server that was started, and sends signals only to that process."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from node_agent.wire.clock import Clock
from pancode.kernel.processes import ProcessId
from pancode.queue.valkey.layout import write_private

STEP_S = 0.02


@dataclass(frozen=True, slots=True)
class ServerRecord(ProcessId):
    """A server process, with the version and the socket with which it was started."""

    version: str
    socket: str

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to exactly this process, and not to a later one with its pid."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def write_record(path: Path, record: ServerRecord) -> None:
    """Write the record durably."""
    write_private(path, json.dumps(asdict(record)).encode())


def read_record(path: Path) -> ServerRecord | None:
    """Return the server record in the file; None if it is missing or unreadable."""
    try:
        return ServerRecord(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def wait_until(clock: Clock, limit_ms: int, done: Callable[[], bool]) -> bool:
    """Poll until `done` returns true or the limit is reached; return whether it was done."""
    end = clock.mono_ms() + limit_ms
    while not done():
        if clock.mono_ms() >= end:
            return False
        time.sleep(STEP_S)
    return True
