"""Says how busy the machine is, for those who wait: what is slow there may only have had no processor."""

from __future__ import annotations

import os
import time

MOST = 4.0


def crowded() -> float:
    """How many want each processor now, at least 1; more than MOST is no excuse.

    Who lets all others go first (`idle` of tests/run.py) gets what they leave: twice as long.
    """
    load = min(MOST, os.getloadavg()[0] / (os.cpu_count() or 1))
    behind = os.getpriority(os.PRIO_PROCESS, 0) > 0
    return max(1.0, 2 * load if behind else load)


def rest(took: float) -> None:
    """Between two looks, the last of which took so many seconds: a look may start a command."""
    time.sleep(min(1.0, max(0.05, 2 * took)))
