"""Looks at this process and at the disk of its home, in the names that Prometheus' own clients use."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from node_agent.wire.clock import Clock

_SELF = Path("/proc/self")


class Itself:
    """`home`: whose disk is looked at. Made as the process starts."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._started_s = clock.wall_ms() / 1000

    def figures(self) -> Mapping[str, float]:
        """By name; what this system does not tell is left out."""
        spent = os.times()
        found: dict[str, float] = {
            "process_start_time_seconds": self._started_s,
            "process_cpu_seconds_total": spent.user + spent.system,
            "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        }
        with suppress(OSError):
            found["pancode_home_free_bytes"] = shutil.disk_usage(self._home).free
        with suppress(OSError, ValueError, IndexError):
            pages = int((_SELF / "statm").read_text("ascii").split()[1])
            found["process_resident_memory_bytes"] = pages * os.sysconf("SC_PAGESIZE")
        with suppress(OSError):
            found["process_open_fds"] = len(os.listdir(_SELF / "fd"))
        return found
