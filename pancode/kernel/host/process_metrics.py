"""Measures this process and the disk of PANCODE_HOME, under the metric names that Prometheus clients use."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from node_agent.wire.clock import Clock


class Itself:
    """The metrics of this process; create it at the start. `home`: the folder whose disk is measured."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._started_s = clock.wall_ms() / 1000
        self._process = psutil.Process()

    def figures(self) -> Mapping[str, float]:
        """Return the metrics by name; those that this system does not report are left out."""
        spent = self._process.cpu_times()
        found: dict[str, float] = {
            "process_start_time_seconds": self._started_s,
            "process_cpu_seconds_total": spent.user + spent.system,
            "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "process_resident_memory_bytes": self._process.memory_info().rss,
        }
        with suppress(OSError):
            found["pancode_home_free_bytes"] = shutil.disk_usage(self._home).free
        with suppress(psutil.Error):
            found["process_open_fds"] = self._process.num_fds()
        return found
