"""Looks at model servers as a node agent does, in its own process: `python -m tests.bench.looker HOME LOOKS`.

Prints a line of JSON: milliseconds until the first look is told, servers found, CPU of one later look.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from node_agent.endpoints.table import EndpointTable
from node_agent.intervals import Intervals
from node_agent.wire.clock import SystemClock


def main(home: Path, looks: int) -> int:
    """Its exit status. `home` has an endpoints.json."""
    every_ms = Intervals().facts_ms
    table = EndpointTable(home, SystemClock(), dict, (), every_ms)
    began = time.perf_counter()
    found = table.facts()
    first_ms = (time.perf_counter() - began) * 1000
    before = _cpu_ms()
    for _ in range(looks):
        table.look()
    used = (_cpu_ms() - before) / looks
    told = {"first_ms": first_ms, "found": len(found), "look_ms": used, "every_ms": every_ms}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _cpu_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2])))
