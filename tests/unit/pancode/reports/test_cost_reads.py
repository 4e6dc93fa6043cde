"""Cost, brief and report let the database add up: what they read does not grow with the history."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from pancode.kernel.records import BookEntry, EndedRun, Run
from pancode.reports.brief import FIRST_MS, make_brief, make_report
from pancode.reports.cost_report import report_cost
from pancode.runs.lists import since_ms
from tests.unit.pancode.reports.test_cost import play
from tests.unit.pancode.runs.test_pass_cost import CountedDesk
from tests.unit.pancode.runs.world import Puppet


@pytest.fixture
def desk() -> CountedDesk:
    desk = CountedDesk("100")
    node = Puppet(desk)
    node.breathe()
    play(desk, node, "r-0001", "done", Decimal("0.2"), project="/home/ana/shop")
    play(desk, node, "r-0002", "unknown", Decimal(0))
    return desk


def grow(desk: CountedDesk, count: int) -> None:
    """Copies of the run of known cost, as it stands in the ledger."""
    with desk.ledger.transaction() as tx:
        (run, row) = (tx.get(Run, "r-0001"), tx.get(EndedRun, "r-0001"))
        assert run is not None and row is not None and row.usd == Decimal("0.2")
        entries = tx.find(BookEntry, {"run": "r-0001"})
        for number in range(count):
            name = f"r-c{number:05d}"
            tx.put(replace(run, id=name))
            tx.put(replace(row, run=name))
            for entry in entries:
                tx.put(replace(entry, id=f"{entry.id}-{number}", run=name))


def read(desk: CountedDesk) -> dict[str, Counter[str]]:
    found = {}
    core = desk.core
    for name, ask in {
        "cost": lambda: report_cost(core, "agent", since_ms(core, None), 20),
        "brief": lambda: make_brief(core, "ana", None),
        "report": lambda: make_report(core, "ana", "24h"),
    }.items():
        desk.counted.rows.clear()
        ask()
        found[name] = Counter(desk.counted.rows)
    return found


def test_they_read_no_more_of_a_long_history_than_of_a_short_one(desk: CountedDesk) -> None:
    grow(desk, 80)
    few = read(desk)
    grow(desk, 200)
    many = read(desk)
    assert many == few
    told = make_report(desk.core, "ana", f"{FIRST_MS // 3_600_000}h")
    assert told.brief.outcomes == {"done": 202}, "all of them are counted"
    assert told.brief.cost["unknown_runs"] == 1


def test_a_report_adds_the_ended_runs_up_once_and_reads_no_entry(desk: CountedDesk) -> None:
    grow(desk, 10)
    rows = read(desk)["report"]
    assert rows["BookEntry"] <= 10  # of the runs that are shown one by one
    assert (rows["sums of EndedRun"], rows["sums of BookEntry"]) == (1, 1)
    told = make_report(desk.core, "ana", "24h")
    days, repositories = told.by_day, told.by_repository
    assert [row["runs"] for row in days] == [12]
    assert {row["key"]: (row["runs"], row["usd"]) for row in repositories} == {
        "/home/ana/shop": (11, "2.2"),
        None: (1, "0"),
    }
