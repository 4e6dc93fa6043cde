"""Rows l: what a node's look for its runtimes takes, with every real program on its PATH."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from node_agent.machine.discovery import Finder
from node_agent.wire.clock import SystemClock
from tests.bench.figures import Goal, Row, median
from tests.clis.install import PACKAGES, ensure

FIRST_MS = 1000.0
LATEST_S = 30.0
"""The look waits for all answers; a program that gives none by then is not measured."""


def probing(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """Against what is allowed: 1 s for the first look. RuntimeError where a program is not found."""
    path = os.pathsep.join([*(str(ensure(name)) for name in sorted(PACKAGES)), os.defpath])
    first, again = list[float](), list[float]()
    for _ in range(rounds):
        finder = Finder(path, SystemClock(), dict, first_s=LATEST_S)
        began = time.perf_counter()
        found = finder.look()
        first.append((time.perf_counter() - began) * 1000)
        missing = {fact.name for fact in found if fact.version is None} & PACKAGES.keys()
        if missing:
            raise RuntimeError(f"no version of {', '.join(sorted(missing))} was found")
        began = time.thread_time()
        finder.look()
        again.append((time.thread_time() - began) * 1000)
    tell(f"l: {median(first):.0f} ms, the worst {max(first):.0f}; then {median(again):.2f} ms of CPU")
    return [
        Row("l 1", _WHAT, "ms", median(first), FIRST_MS, "what is allowed", Goal(most=1.0), _FIRST),
        Row("l 2", "the next look, nothing new: CPU", "ms", median(again), None, "nothing", None, _AGAIN),
    ]


_WHAT = "a node's first look at its runtimes, all programs there"
_FIRST = (
    "All are asked at once: the version of an npm package from its file, and if a login is there. What is "
    "no npm package is started with `--version`, which may take its own time, and is not in this figure."
)
_AGAIN = "Where each program is now, and whether a login is another than before."
