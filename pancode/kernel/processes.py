"""Identifies a process uniquely by boot, pid and start time, because a pid alone may be reused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessId:
    """The identity of one process, with which it can be found later or known to have ended."""

    boot: str
    pid: int
    started: str

    @classmethod
    def me(cls) -> ProcessId:
        return cls(boot_id(), os.getpid(), start_of(os.getpid()))

    def alive(self) -> bool:
        """Whether exactly this process still runs, and not another with the same pid."""
        return self.boot == boot_id() and self.started == start_of(self.pid) != ""


def boot_id() -> str:
    """Return an id that differs after every boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # on macOS, where the file does not exist
        import psutil

        return str(int(psutil.boot_time()))


def start_of(pid: int) -> str:
    """Return the start time of the process from the operating system; "" if it has ended or is a zombie. On
    Linux it is in kernel ticks, because psutil converts them to a time of day, which moves with the clock."""
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
