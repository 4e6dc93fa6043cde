"""CPU time and memory of processes, as the kernel counts them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pids: Iterable[int]) -> float:
    """User and system time of these processes, all their threads and reaped children, to 10 ms each."""
    return sum(cpu_of(Path(f"/proc/{pid}/stat").read_text()) for pid in pids)


def cpu_of(stat: str) -> float:
    """The same of one process, by the text of its `/proc/PID/stat`."""
    return sum(int(word) for word in stat.rpartition(")")[2].split()[11:15]) * _TICK_MS


def own_cpu_ms(pid: int) -> float:
    """User and system time of one process with all its threads, also those that have ended, to 10 ms."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return sum(int(word) for word in stat.rpartition(")")[2].split()[11:13]) * _TICK_MS


def peak_kib(pid: int) -> int:
    """The most memory that it has held. `ru_maxrss` would count what its parent held when it was begun.

    OSError and ValueError where it has ended.
    """
    return peak_of(Path(f"/proc/{pid}/status").read_text())


def peak_of(status: str) -> int:
    """The same by the text of its `/proc/PID/status`."""
    told = dict(line.split(":", 1) for line in status.splitlines())
    if "VmHWM" not in told:
        raise ValueError("the process has ended")
    return int(told["VmHWM"].split()[0])


def memory_mb(pid: int) -> tuple[float, float]:
    """(RSS, PSS) in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kb["Rss"] / 1024, kb["Pss"] / 1024
