"""Row l: admission with the ledger in PostgreSQL against the same with it in SQLite."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from tests.bench.figures import Goal, Row
from tests.bench.history import admit
from tests.bench.ours import OurFleet
from tests.bench.processes import own_cpu_ms
from tests.contract.postgres_server import running

_LIMIT = (
    "Each statement is a round trip to another process, and BEGIN one more, where SQLite's is a "
    "call. Both wait for their disk at each commit."
)


def engines(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """Two coordinators, one with each engine, asked in turn; both make every commit durable."""
    with running(durable=True) as server:
        server.do("create database bench")
        environ = {"PANCODE_DATABASE_URL": server.by_tcp("bench")}
        with OurFleet() as ours, OurFleet(environ=environ) as theirs:
            return _measured(tell, rounds, theirs, ours)


def _measured(tell: Callable[[str], None], rounds: int, there: OurFleet, file: OurFleet) -> list[Row]:
    fleets = there, file
    apis = [fleet.api() for fleet in fleets]
    for api in apis:
        api.call("POST", "/v1/queues/pause", {"reason": "bench"})
    began = [own_cpu_ms(fleet.coordinator_pid) for fleet in fleets]
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for place, api in enumerate(apis):
            took[place].append(admit(api))
    cpu = [
        (own_cpu_ms(fleet.coordinator_pid) - first) / rounds
        for fleet, first in zip(fleets, began, strict=True)
    ]
    wall = [median(each) for each in took]
    tell(f"m: {wall[0]:.1f} ms in PostgreSQL, {wall[1]:.1f} in SQLite; CPU {cpu[0]:.1f} and {cpu[1]:.1f} ms")
    peer = "the same in SQLite"
    return [
        Row("m 1", "admission in PostgreSQL, p50", "ms", wall[0], wall[1], peer, Goal(most=2.0), _LIMIT),
        Row(
            "m 2",
            "coordinator's CPU for an admission and a stop in PostgreSQL",
            "ms",
            cpu[0],
            cpu[1],
            peer,
            Goal(most=2.0),
            _LIMIT,
        ),
    ]
