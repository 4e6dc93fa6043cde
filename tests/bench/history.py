"""Row g: admission and `runs` with a thousand and with a hundred thousand runs in the ledger."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable

from tests.bench.figures import Goal, Row, percentile
from tests.bench.ours import NO_OP, Api, OurFleet

SMALL, LARGE = 1_000, 100_000
PAGE_MS = 30.0
KEYED = {
    "runs": "id",
    "attempts": "run",
    "fences": "run",
    "decisions": "run",
    "entries": "run",
    "receipts": "run",
}
_UNIQUE = {"entries": "id", "receipts": "digest"}
_MOMENTS = {
    "runs": ("created_ms",),
    "attempts": ("created_ms",),
    "entries": ("at_ms",),
    "ended_runs": ("ended_ms", "first_ms", "last_ms"),
}
_USD = "printf('%.6f', 0.01 + n.x * 7919 % 99991 / 100000.0)"
_VARIED = {
    ("runs", "agent"): "'agent' || n.x % 8",
    ("runs", "project"): "'/srv/repository' || n.x % 20",
    ("entries", "usd"): f"case t.kind when 'spend' then {_USD} else t.usd end",
    ("ended_runs", "agent"): "'agent' || n.x % 8",
    ("ended_runs", "repository"): "'/srv/repository' || n.x % 20",
    ("ended_runs", "usd"): _USD,
}
"""Sums over one value in all rows would be cheaper than they are."""


def history(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """Two coordinators, one with each ledger, asked in turn."""
    with OurFleet() as small, OurFleet() as large:
        for fleet, count in ((small, SMALL), (large, LARGE)):
            _grow(fleet, count)
        samples = {name: ([], []) for name in ("admission", "runs")}  # type: dict[str, tuple[list[float], list[float]]]
        apis = (small.api(), large.api())
        listed = list[float]()
        for _ in range(rounds):
            listed.append(_timed(lambda: apis[1].call("GET", "/v1/runs?limit=50")))
            for place, api in enumerate(apis):
                samples["runs"][place].append(_timed(lambda api=api: api.call("GET", "/v1/runs?limit=20")))  # type: ignore[misc]
                samples["admission"][place].append(admit(api))
    rows = []
    for name, (few, many) in samples.items():
        values = (percentile(many, 0.99), percentile(few, 0.99))
        tell(f"g {name}: p99 {values[0]:.1f} ms with {LARGE}, {values[1]:.1f} ms with {SMALL}")
        limit = "Searches go by an index in both; what differs between the two sizes is not taken apart yet."
        rows.append(
            Row(
                f"g {name}",
                f"{name}, p99, {LARGE} runs against {SMALL}",
                "ms",
                *values,
                f"the same with {SMALL} runs",
                Goal(most=1.2),
                limit,
            )
        )
    what = f"`GET /v1/runs?limit=50` through HTTP, p99, {LARGE} runs"
    limit = "The newest fifty by an index, each with what belongs to it, as one JSON text."
    took = percentile(listed, 0.99)
    return [*rows, Row("g http", what, "ms", took, PAGE_MS, "the goal of 30 ms", Goal(most=1.0), limit)]


def admit(api: Api) -> float:
    """A dispatch that is really held and queued; the fleet is paused, so nothing binds it. Then a stop."""
    found: list[str] = []
    took = _timed(lambda: found.append(api.dispatch(NO_OP)))
    api.call("POST", f"/v1/runs/{found[0]}/stop", {"reason": "measured"})
    return took


def _timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return (time.monotonic() - began) * 1000


def _grow(fleet: OurFleet, count: int) -> None:
    """Copies of runs that were really executed, under ids of their own, until there are so many."""
    api = fleet.api()
    fleet.burst(4, NO_OP)
    api.call("POST", "/v1/queues/pause", {"reason": "bench"})
    database = sqlite3.connect(fleet.owner.fleet_home / "ledger.db", timeout=60, isolation_level=None)
    run = database.execute("select id from runs where state = 'ended' limit 1").fetchone()[0]
    database.execute("begin immediate")
    for table, key in KEYED.items():
        database.execute(copies(database, table, key, count), (run,))
    database.execute("commit")
    # No ledger comes to so many runs in one transaction: its log is not left to what is measured.
    busy, left, moved = database.execute("pragma wal_checkpoint(truncate)").fetchone()
    assert (busy, left) == (0, moved), "the log is still there"
    database.close()
    os.sync()
    have = fleet.settled()
    assert have >= count, f"{have} of {count} runs"
    answer = json.loads(api.call("GET", "/v1/runs?limit=3"))
    assert len(answer["runs"]) == 3


def copies(database: sqlite3.Connection, table: str, key: str, count: int) -> str:
    """Copies the rows of one run so many times, each a second before the other; takes the run's id."""
    columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
    picked = []
    for name in columns:
        if name == key:
            picked.append("'r-' || printf('%07d', n.x)")
        elif name == _UNIQUE.get(table):
            picked.append(f"t.\"{name}\" || '-' || n.x")
        elif name in _MOMENTS.get(table, ()):
            picked.append(f't."{name}" - n.x * 1000')
        elif (table, name) in _VARIED:
            picked.append(_VARIED[table, name])
        else:
            picked.append(f't."{name}"')
    names = ", ".join(f'"{name}"' for name in columns)
    numbers = f"with recursive n(x) as (select 1 union all select x + 1 from n where x < {count})"
    values = ", ".join(picked)
    return f'insert into {table} ({names}) {numbers} select {values} from n, {table} t where t."{key}" = ?'
