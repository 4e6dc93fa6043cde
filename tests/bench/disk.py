"""Rows v: how much disk an ended no-op run takes, at the coordinator and on its node."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Goal, Row
from tests.bench.ours import NO_OP, OurFleet
from tests.e2e.owner import until

WARM, BURST = 20, 100
COORDINATOR_KB, NODE_KB = 18.0, 10.0
PARTS = ("ledger.db", "valkey", "receipts", "run")


def disk(tell: Callable[[str], None], count: int) -> list[Row]:
    """The blocks of all files after so many runs, less those before, for a run."""
    with OurFleet() as ours:
        homes = ours.owner.fleet_home, ours.owner.home / ".pancode-node"
        ours.burst(WARM, NO_OP)
        before = [_parts(ours, home) for home in homes]
        for _ in range(count // BURST):
            ours.burst(BURST, NO_OP)
        grown = [_parts(ours, home) - old for home, old in zip(homes, before, strict=True)]
    ledger, *others = (grown[0][name] / count / 1000 for name in PARTS)
    rest = ", ".join(f"{kb:.1f} {name}" for kb, name in zip(others, PARTS[1:], strict=True))
    tell(f"v: coordinator {ledger:.1f} kB ledger, {rest}; node {grown[1].total() / count / 1000:.1f} kB")
    limits = (
        f"The ledger takes {ledger:.1f} kB, folders of the home the rest ({rest}). Redis's log "
        "is rewritten at 2 MB and holds the last 200 jobs of a node, so its part becomes smaller.",
        "A folder and a file of records take a block of 4 kB each; the rest is the log of the node agent.",
    )
    goals = ("coordinator", COORDINATOR_KB), ("node", NODE_KB)
    return [
        Row(
            f"v {place}",
            f"disk for an ended no-op run, {place}, over {count} runs",
            "kB",
            parts.total() / count / 1000,
            goal,
            f"the goal of {goal:g} kB",
            Goal(most=1.0),
            limit,
        )
        for (place, goal), parts, limit in zip(goals, grown, limits, strict=True)
    ]


def _parts(ours: OurFleet, home: Path) -> Counter[str]:
    """Bytes on disk below the home, by the name below it, when the node has cleaned up and SQLite's log is
    empty."""
    journals = ours.owner.home / ".pancode-node"
    until(lambda: not [*journals.glob("*/journal/*/plan.json")], "the node has cleaned up", 60)
    with sqlite3.connect(ours.owner.fleet_home / "ledger.db", timeout=60) as database:
        database.execute("pragma wal_checkpoint(truncate)")
    found = Counter[str]()
    for folder, _, files in os.walk(home):
        for name in ("", *files):
            path = Path(folder, name)
            found[path.relative_to(home).parts[0] if path != home else ""] += os.lstat(path).st_blocks * 512
    return found
