"""What waits is listed at the same cost, however many runs a real ledger has: counted in steps of SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from node_agent.wire.failure import Outcome
from pancode.app.schema import SCHEMA
from pancode.fleet.fleet import list_nodes
from pancode.kernel.records import Closed, Lease, LeaseState, RunState
from pancode.kernel.values import replace
from pancode.landing import queue
from pancode.reports.needs import list_needs
from pancode.runs.answers import NeedGroup
from pancode.runs.core import Core, open_leases
from pancode.runs.views import must_have_no_next
from pancode.store.ledger import SqlLedger
from tests.contract.ended import ENDED
from tests.contract.test_ledger import write
from tests.unit.pancode.runs.world import Desk, Puppet, a_run

FEW, MANY = 20, 220


class Counted:
    """A coordinator on a real ledger that counts the steps of its database."""

    def __init__(self, ledger: SqlLedger) -> None:
        self.steps, self.runs, self.desk = 0, 0, Desk()
        self.ledger = self.desk.ledger = ledger  # type: ignore[assignment]
        self.desk.restart()
        event.listen(ledger._engine, "checkout", self._listen)
        self.node = Puppet(self.desk)

    def _listen(self, connection: Any, *_: object) -> None:
        connection.set_progress_handler(self._count, 1)

    def _count(self) -> int:
        self.steps += 1
        return 0

    def add(self, count: int, project: str, *, landed: bool) -> None:
        """Write so many ended runs of the node."""
        for _ in range(count):
            self.runs += 1
            name = f"r-{self.runs:05}"
            result = {"commit": "c" * 40, "node": "n1"}
            run = a_run(name, self.runs, Decimal(1), project=project, result=result)
            run = replace(run, state=RunState.ENDED, outcome=Outcome.DONE, finished_ms=self.runs)
            run = replace(run, landed="d" * 40 if landed else None)
            row = replace(ENDED, run=name, ended_ms=self.runs, repository=project, landed=landed)
            lease = Lease(name, 1, 1, "n1", self.node.tag, "{}", "", 1, 1, 1)
            lease = replace(lease, state=LeaseState.CLOSED, closed=Closed.RECEIPT)
            write(self.ledger, run, replace(row, left=not landed), lease)

    def measure(self, act: Callable[[], object]) -> int:
        self.steps = 0
        act()
        return self.steps


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    monkeypatch.setattr(queue, "NEWEST", FEW // 2)
    ledger = SqlLedger(tmp_path / "ledger.db", SCHEMA)
    yield Counted(ledger)
    ledger.close()


def _leases(counted: Counted, **where: str) -> None:
    with counted.ledger.transaction() as tx:
        assert open_leases(tx, **where) == []


def _follow(counted: Counted) -> None:
    with counted.ledger.transaction() as tx:
        must_have_no_next(tx, a_run("r-00001", 1, Decimal(1)))


def _changes(core: Core) -> list[str]:
    return [one.id for one in list_needs(core) if one.group is NeedGroup.TO_LAND]


def test_what_waits_costs_the_same_however_many_runs_have_ended(counted: Counted) -> None:
    core = counted.desk.core
    acts: dict[str, Callable[[], object]] = {
        "landable": lambda: queue.list_landable(core, "/p"),
        "needs": lambda: list_needs(core),
        "nodes": lambda: list_nodes(core),
        "leases of a node": lambda: _leases(counted, node="n1"),
        "leases of a tag": lambda: _leases(counted, tag=counted.node.tag),
        "next runs": lambda: _follow(counted),
    }
    counted.add(FEW // 2, "/p", landed=True)
    counted.add(FEW // 2, "/other", landed=True)
    counted.add(2, "/p", landed=False)
    before = {name: counted.measure(act) for name, act in acts.items()}
    assert len(_changes(core)) == 2 and all(before.values())
    counted.add(MANY, "/other", landed=True)
    counted.add(MANY, "/p", landed=True)
    after = {name: counted.measure(act) for name, act in acts.items()}
    grown = {name: (before[name], after[name]) for name in acts if after[name] > before[name] * 1.1 + 20}
    assert grown == {}
    assert len(_changes(core)) == 2, "they are found behind newer runs that have landed"


def test_of_many_undecided_changes_the_newest_are_listed(counted: Counted) -> None:
    counted.add(FEW, "/p", landed=False)
    assert _changes(counted.desk.core) == [f"r-{number:05}" for number in range(FEW, 0, -1)][:500]
