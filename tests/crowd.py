"""Says how busy the machine is, for those who wait: what is slow there may only have had no processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MOST = 4.0


def crowded() -> float:
    """How many want each processor now, at least 1; more than MOST is no excuse.

    Who lets all others go first (`idle` of tests/run.py) gets what they leave: twice as long.
    """
    load = min(MOST, os.getloadavg()[0] / (os.cpu_count() or 1))
    behind = os.getpriority(os.PRIO_PROCESS, 0) > 0
    return max(1.0, 2 * load if behind else load)


def until(
    holds: Callable[[], T | None],
    what: str = "it holds",
    timeout_s: float = 30,
    told: Callable[[], object] = lambda: "",
) -> T:
    """The first answer that is true; the failure says what was waited for and what was there instead.

    On a machine that has more to do than it can, the wait is as much longer.
    """
    began = look = time.monotonic()
    while not (found := holds()):
        if time.monotonic() - began > timeout_s * crowded():
            raise AssertionError(f"not after {time.monotonic() - began:.0f} s: {what}: {told()}")
        # A look may start a command.
        time.sleep(min(1.0, max(0.02, 2 * (time.monotonic() - look))))
        look = time.monotonic()
    return found
