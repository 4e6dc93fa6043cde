"""A round looks at what has changed: it reads nodes from memory, and asks Redis about all of them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from pancode.config.fleet_settings import pause_queue
from pancode.fleet import inventory
from pancode.kernel.errors import UnavailableError
from pancode.kernel.ports import Ledger, Transaction
from pancode.kernel.records import Lease, Node, Run, RunState
from pancode.runs.reconcile import act_now, run_pass
from pancode.runs.row_cache import KeptRows
from tests.fakes.ledger import MemoryLedger
from tests.unit.pancode.runs.world import Desk, Puppet, offered

READS, STATEMENTS = 98, 150
"""Of a run without options, from its dispatch to its end."""


class CountedRows:
    """A ledger that counts the rows which it gives out, by kind, and the statements."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.rows: Counter[str] = Counter()
        self.statements: Counter[str] = Counter()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self.ledger.transaction() as tx:
            yield CountedReads(tx, self.rows, self.statements)

    def close(self) -> None:
        self.ledger.close()


class CountedReads:
    def __init__(self, tx: Transaction, rows: Counter[str], statements: Counter[str]) -> None:
        self._tx, self._rows, self._statements = tx, rows, statements

    def get(self, kind: type[Any], *key: str | int) -> Any:
        self._rows[kind.__name__] += 1
        self._statements["get"] += 1
        return self._tx.get(kind, *key)

    def find(self, kind: type[Any], *args: Any, **options: Any) -> list[Any]:
        found = self._tx.find(kind, *args, **options)
        self._rows[kind.__name__] += len(found)
        self._statements["find"] += 1
        return found

    def tally(self, kind: type[Any], grouping: Any) -> list[Any]:
        self._rows[f"{'sums' if grouping.sums else 'columns'} of {kind.__name__}"] += 1
        return self._tx.tally(kind, grouping)

    def __getattr__(self, name: str) -> Any:
        self._statements[name] += 1
        return getattr(self._tx, name)


class CountedCalls:
    """A port whose calls are counted by name."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._port, name)


class CountedDesk(Desk):
    """A coordinator whose reads and calls are counted."""

    def restart(self) -> None:
        super().restart()
        core = self.core
        self.counted, self.bus = CountedRows(self.ledger), CountedCalls(core.ports.bus)
        core.kept = KeptRows(self.counted)
        core.ports = replace(core.ports, ledger=core.kept, bus=self.bus)


def fleet(count: int) -> tuple[CountedDesk, list[Puppet]]:
    desk = CountedDesk()
    puppets = [Puppet(desk, f"n{n}") for n in range(count)]
    desk.turn()
    for puppet in puppets:
        puppet.breathe()
    desk.turn()
    return desk, puppets


def test_an_idle_round_reads_no_node_from_the_ledger() -> None:
    desk, puppets = fleet(20)
    assert len(inventory.list_names(desk.core)) == 20
    desk.turn()
    desk.counted.rows.clear()
    for _ in range(10):
        desk.turn()
    assert desk.counted.rows["Node"] == 0


def test_all_heartbeats_travel_together() -> None:
    desk, puppets = fleet(20)
    desk.turn(desk.rules.heartbeat_ms)
    desk.bus.calls.clear()
    desk.turn(desk.rules.heartbeat_ms)
    assert desk.bus.calls["set_heartbeats"] == 1
    heartbeats = [puppet.beat() for puppet in puppets]
    assert (
        len({heartbeat.seq for heartbeat in heartbeats if heartbeat is not None}) == 1
        and None not in heartbeats
    )


def test_a_run_is_ended_without_a_look_at_all_nodes() -> None:
    desk = CountedDesk()
    puppet, job = offered(desk)
    for n in range(20):
        Puppet(desk, f"other{n}")
    puppet.start(job)
    desk.turn()
    puppet.deliver(job)
    desk.counted.rows.clear()
    desk.turn()
    assert desk.row(Run, job.identity.run).state is RunState.ENDED
    assert desk.counted.rows["Node"] <= 2  # of the node that was told something


def test_a_run_costs_no_more_statements_than_before() -> None:
    desk = CountedDesk()
    puppet = Puppet(desk)
    puppet.breathe()
    desk.turn()
    desk.counted.statements.clear()
    desk.dispatch("r-0001")
    desk.turn()
    job = puppet.take()
    puppet.start(job)
    desk.turn()
    puppet.deliver(job)
    desk.turn()
    assert desk.row(Run, "r-0001").state is RunState.ENDED
    statements = desk.counted.statements
    # Only fewer: each of them is paid by each run.
    assert statements["get"] + statements["find"] <= READS and statements.total() <= STATEMENTS, statements


def test_a_message_has_nobody_looked_at_within_the_same_second() -> None:
    desk, (puppet, *_) = fleet(3)
    desk.bus.calls.clear()
    desk.clock.ms += desk.rules.look_ms // 2
    run_pass(desk.core, woken=True)
    assert desk.bus.calls["heartbeats"] == 0 and desk.bus.calls["read_up"] == 1
    desk.clock.ms += desk.rules.look_ms // 2
    run_pass(desk.core, woken=True)
    assert desk.bus.calls["heartbeats"] == 1
    run_pass(desk.core)
    assert desk.bus.calls["heartbeats"] == 2


def test_a_row_whose_commit_failed_is_as_it_was() -> None:
    failing = False

    def before() -> None:
        if failing:
            raise OSError("the disk")

    ledger = KeptRows(MemoryLedger(before_commit=before))
    one = Node("a", 0, {}, {}, 1)
    with ledger.transaction() as tx:
        tx.insert(one)
    failing = True
    with pytest.raises(OSError, match="disk"), ledger.transaction() as tx:
        assert tx.get(Node, "a") == one
        tx.put(replace(one, slots=2))
        tx.insert(replace(one, name="b"))
        assert [(n.name, n.slots) for n in tx.find(Node)] == [("a", 2), ("b", 1)]
    failing = False
    with ledger.transaction() as tx:
        assert tx.find(Node) == [one] and tx.get(Node, "b") is None
        tx.delete(Node, "a")
        tx.insert(replace(one, name="0"))
        tx.insert(replace(one, name="c"))
    with ledger.transaction() as tx:
        tx.insert(replace(one, name="b"))
        assert [n.name for n in tx.find(Node)] == ["0", "b", "c"]


def test_what_another_wrote_while_the_ledger_was_away_is_read_anew() -> None:
    """A PostgreSQL that was away may have served another coordinator meanwhile."""
    away = False

    def before() -> None:
        if away:
            raise UnavailableError("the server is away")

    desk = Desk()
    desk.dispatch()
    run, ledger = desk.row(Run, "r-0001"), MemoryLedger(before_commit=before)
    ours, node = KeptRows(ledger), Node("a", 0, {}, {}, 1)
    with ours.transaction() as tx:
        tx.insert(node)
        tx.insert(run)
        assert tx.find(Node) == [node] and list(ours.waiting(tx).all) == ["r-0001"]
    away = True
    with pytest.raises(UnavailableError), ours.transaction() as tx:
        tx.get(Node, "a")
    away = False
    with ledger.transaction() as other:
        other.put(replace(node, slots=5))
        other.put(replace(run, state=RunState.ENDED))
        other.insert(replace(run, id="r-0002"))
    with ours.transaction() as tx:
        assert tx.find(Node) == [replace(node, slots=5)] and list(ours.waiting(tx).all) == ["r-0002"]


def test_a_first_read_that_fails_loses_no_waiting_run() -> None:
    class Failing(CountedReads):
        def find(self, kind: type[Any], *args: Any, **options: Any) -> list[Any]:
            raise OSError("the disk")

    desk = Desk()
    desk.dispatch()
    kept = KeptRows(desk.ledger)
    with kept.transaction() as tx, pytest.raises(OSError, match="disk"):
        kept.waiting(Failing(tx, Counter(), Counter()))
    with kept.transaction() as tx:
        assert list(kept.waiting(tx).all) == ["r-0001"]


def test_a_long_queue_is_not_read_in_each_round() -> None:
    desk = CountedDesk()
    pause_queue(desk.core, None, "lunch", "me")
    for n in range(60):
        desk.dispatch(f"r-{n:04d}", usd="0")
    for _ in range(20):
        desk.turn()
    assert {run.reason for run in desk.rows(Run)} == {"the fleet is paused: lunch"}
    desk.counted.rows.clear()
    for _ in range(5):
        desk.turn()
    assert desk.counted.rows["Run"] <= 5  # the first of those that ask for the same
    desk.dispatch("r-9999", usd="0")
    desk.counted.rows.clear()
    act_now(desk.core)
    assert desk.counted.rows["Run"] <= 5


def test_of_a_long_queue_only_those_are_read_that_are_placed() -> None:
    desk, puppets = fleet(2)
    pause_queue(desk.core, None, "lunch", "me")
    for n in range(60):
        desk.dispatch(f"r-{n:04d}", usd="0")
    desk.turn()
    pause_queue(desk.core, None, None, "me")
    desk.counted.rows.clear()
    act_now(desk.core)
    assert sorted(lease.run for lease in desk.rows(Lease)) == ["r-0000", "r-0001", "r-0002", "r-0003"]
    assert desk.counted.rows["Run"] <= 40
