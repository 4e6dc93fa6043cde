"""Decides whether a process is the one that was started, and ends it when it is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from node_agent.wire.clock import Clock
from pancode.adapters.valkey.layout import write_private

STEP_S = 0.02


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """Who runs: a process (boot id, pid and start time prove it), and what it was started as."""

    boot: str
    pid: int
    started: str
    version: str
    socket: str

    def alive(self) -> bool:
        """Whether that very process still runs; another one with its number does not count."""
        return self.boot == boot_id() and self.started == start_of(self.pid) != ""

    def signal(self, number: signal.Signals) -> None:
        """Sent only to that very process."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def boot_id() -> str:
    """Differs after every boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def start_of(pid: int) -> str:
    """When the process started, as its system tells it; empty when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except OSError:
        return "" if os.path.exists("/proc/self/stat") else _start_elsewhere(pid)


def _start_elsewhere(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""


def write_record(path: Path, record: ServerRecord) -> None:
    """Durable."""
    write_private(path, json.dumps(asdict(record)).encode())


def read_record(path: Path) -> ServerRecord | None:
    """None when there is none or it cannot be read."""
    try:
        return ServerRecord(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def wait_until(clock: Clock, limit_ms: int, done: Callable[[], bool]) -> bool:
    """Looks again and again until `done` or the limit; says whether it was done."""
    end = clock.mono_ms() + limit_ms
    while not done():
        if clock.mono_ms() >= end:
            return False
        time.sleep(STEP_S)
    return True
