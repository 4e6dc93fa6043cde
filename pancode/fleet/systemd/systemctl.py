"""Runs systemd's programs without a terminal, in a fixed locale and with a time limit."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

_ON_ITS_WAY = ("activating", "deactivating")
"""States that systemd will soon change by itself. A unit that waits for its restart is `activating` too."""


def run_program(
    argv: tuple[str, ...], timeout_s: float, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its output, whatever its exit status. Raises OSError if the program is
    missing, subprocess.TimeoutExpired after `timeout_s`."""
    return subprocess.run(
        argv,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


def is_on_its_way(
    manager: tuple[str, ...], name: str, timeout_s: float, environ: Mapping[str, str] | None = None
) -> bool:
    """Whether the manager is about to start or stop the unit; False if no manager answers."""
    try:
        done = run_program((*manager, "show", "-P", "ActiveState", name), timeout_s, environ)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() in _ON_ITS_WAY
