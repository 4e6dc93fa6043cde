"""Says how busy the machine is, for those who wait: what is slow there may only have had no processor."""

from __future__ import annotations

import os
import time

MOST = 4.0


def crowded() -> float:
    """How many want each processor now, at least 1; more than MOST is no excuse."""
    return min(MOST, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def rest(took: float) -> None:
    """Between two looks, the last of which took so many seconds: a look may start a command."""
    time.sleep(min(1.0, max(0.05, 2 * took)))
