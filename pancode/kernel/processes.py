"""Identifies a process for ever: boot, pid and start time. A pid alone may be used again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, noted so that it can be found again, or be known to be gone."""

    boot: str
    pid: int
    started: str

    @classmethod
    def me(cls) -> ProcessId:
        return cls(boot_id(), os.getpid(), start_of(os.getpid()))

    def alive(self) -> bool:
        """Whether that very process still runs; another one with its number does not count."""
        return self.boot == boot_id() and self.started == start_of(self.pid) != ""


def boot_id() -> str:
    """Return an id that differs after every boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # macOS
        import psutil

        return str(int(psutil.boot_time()))


def start_of(pid: int) -> str:
    """Return the start time of the process from its system; "" where it is gone or a zombie.

    On Linux in the kernel's ticks: psutil makes a time of day of them, which moves with the clock.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except OSError:
        return "" if os.path.exists("/proc/self/stat") else _start_elsewhere(pid)


def _start_elsewhere(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""
