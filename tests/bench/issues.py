"""Row u: what a dispatch costs the coordinator, with finished issues in the ledger and with none."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from tests.bench.figures import Goal, Row, median
from tests.bench.history import copies
from tests.bench.ours import NO_OP, OurFleet
from tests.bench.processes import own_cpu_ms

FEW, MANY, RUNS_EACH, DISPATCHES = 1_000, 10_000, 3, 6
_WORKSPACE = (
    "insert into workspaces select 'w-' || x, '/srv/shop', 'b' || x, null, x, 'ana', {first}, '', "
    "{last}, true from n"
)
_WORK = (
    "insert into issue_works select 'w-' || x, 'SHOP-' || x, 'add', 'http://x', 'shop', 'ana', x, "
    "'text', 'github', 'done', 'the change has landed', '', 'c', '', {last}, 1, true from n"
)


def issues(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """Three coordinators, with no, some and many finished issues, each with its runs, measured in turn."""
    with OurFleet() as none, OurFleet() as few, OurFleet() as many:
        for fleet, count in ((none, 0), (few, FEW), (many, MANY)):
            fleet.burst(4, NO_OP)
            _fill(fleet, count)
        costs: dict[int, list[float]] = {0: [], FEW: [], MANY: []}
        for _ in range(rounds):
            for fleet, count in ((none, 0), (few, FEW), (many, MANY)):
                costs[count].append(_cost(fleet))
    usual = median(costs[0])
    rows = []
    for count in (FEW, MANY):
        took = median(costs[count])
        tell(f"u: {took:.0f} ms with {count} finished issues, {usual:.0f} ms with none")
        what = f"CPU of the coordinator for {DISPATCHES} dispatches, {count} finished issues against none"
        limit = "Open work is found by an index; nothing reads the finished."
        rows.append(Row(f"u {count}", what, "ms", took, usual, "the same with none", Goal(most=1.1), limit))
    return rows


def _cost(fleet: OurFleet) -> float:
    pid = fleet.coordinator_pid
    before = own_cpu_ms(pid)
    for _ in range(DISPATCHES):
        fleet.burst(1, NO_OP)
    time.sleep(1)  # what the events have begun ends
    return own_cpu_ms(pid) - before


def _fill(fleet: OurFleet, count: int) -> None:
    """Add so many finished issues, each with a workspace and runs copied from one that was executed."""
    if not count:
        return
    database = sqlite3.connect(fleet.owner.fleet_home / "ledger.db", timeout=60, isolation_level=None)
    run = database.execute("select id from runs where state = 'ended' limit 1").fetchone()[0]
    database.execute("begin immediate")
    for table, key in {"runs": "id", "attempts": "run", "ended_runs": "run"}.items():
        database.execute(copies(database, table, key, count * RUNS_EACH), (run,))
    numbers = f"with recursive n(x) as (select 1 union all select x + 1 from n where x < {count}) "
    first, last = "'r-' || printf('%07d', x * 3 - 2)", "'r-' || printf('%07d', x * 3)"
    for statement in (_WORKSPACE, _WORK):
        insert, _, select = statement.format(first=first, last=last).partition(" select ")
        database.execute(f"{insert} {numbers} select {select}")
    database.execute("commit")
    database.close()
