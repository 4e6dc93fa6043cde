"""Rows a and b: runs per second and time to start, against four stock `rq worker` processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Goal, Row, median, paired, percentile
from tests.bench.ours import NO_OP, NOW, OurFleet
from tests.bench.peer import RqWorkers
from tests.bench.processes import cpu_ms

PEER = "four stock `rq worker` processes (RQ's default fork worker) running the same program"
RUNS_S, START_MS = 30.0, 60.0
_SAFER = (
    "Ours is admitted by ten gates, held in the budget, signed, journalled with fsync on both sides, "
    "supervised by a process of its own, receipted, verified and settled"
)


def throughput_and_start(tell: Callable[[str], None], rounds: int, burst: int, singles: int) -> list[Row]:
    """Both rows; server, workers and fleet are up for all of it, only one side works at a time."""
    with (
        tempfile.TemporaryDirectory(prefix="pb-peer-") as folder,
        RqWorkers(Path(folder)) as peer,
        OurFleet() as ours,
    ):
        ours.burst(8, NO_OP)
        peer.burst(8, NO_OP)
        return [*_throughput(ours, peer, tell, (rounds, burst)), *_start(ours, peer, tell, singles)]


def _throughput(
    ours: OurFleet, peer: RqWorkers, tell: Callable[[str], None], size: tuple[int, int]
) -> list[Row]:
    rounds, burst = size
    mine: list[float] = []
    theirs: list[float] = []
    work: list[float] = []
    for number in range(rounds):
        before = cpu_ms([ours.coordinator_pid, *ours.node_pids()])
        mine.append(burst / ours.burst(burst, NO_OP))
        work.append((cpu_ms([ours.coordinator_pid, *ours.node_pids()]) - before) / burst)
        theirs.append(burst / peer.burst(burst, NO_OP))
        tell(
            f"a {number + 1}/{rounds}: ours {mine[-1]:.1f}/s ({work[-1]:.1f} ms CPU), peer {theirs[-1]:.1f}/s"
        )
    limit = (
        f"{_SAFER}; the peer pops, forks and stores a result. Bound by CPU: coordinator and node agent use "
        f"{median(work):.1f} ms of it for a run, and the shim is an interpreter that is started for it."
    )
    what = f"runs settled per second, one node, 4 slots, no-op, bursts of {burst}"
    asked = "the runs per second that are asked for"
    return [
        Row("a", what, "/s", median(mine), median(theirs), PEER, None, limit, paired(mine, theirs)),
        Row("a goal", what, "/s", median(mine), RUNS_S, asked, Goal(least=1.0), limit),
    ]


def _start(ours: OurFleet, peer: RqWorkers, tell: Callable[[str], None], singles: int) -> list[Row]:
    api = ours.api()
    mine, theirs = [], []
    for _ in range(singles):
        began, said = ours.one(api, NOW)
        mine.append((float(said) - began) * 1000)
        began, said = peer.one(NOW)
        theirs.append((float(said) - began) * 1000)
    tell(f"b: ours {median(mine):.1f} ms, peer {median(theirs):.1f} ms")
    limit = (
        "Ours waits for the disk four times, one after the other: the commit of hold and signed job, the "
        "node's journal (two syncs), the mark that all is laid out, the shim's record. The rest is HTTP, the "
        "gates, Redis, the node's judging, folders, and the program's own start. The peer's worker forks, "
        "and syncs nothing."
    )
    rows = []
    for name, part in (("p50", 0.5), ("p95", 0.95)):
        values = (percentile(mine, part), percentile(theirs, part))
        rows.append(
            Row(
                f"b {name}",
                f"enqueue to process start, idle fleet, {name}",
                "ms",
                *values,
                PEER,
                None,
                limit,
            )
        )
    what, asked = "enqueue to process start, idle fleet, p50", "the time that is allowed"
    return [*rows, Row("b goal", what, "ms", rows[0].ours, START_MS, asked, Goal(most=1.0), limit)]
