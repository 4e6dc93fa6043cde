"""A coordinator on a ledger that is older than what it has signed: nothing is given out twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node_agent.wire.event import Refused
from node_agent.wire.failure import JobRefusal
from node_agent.wire.identity import Mark
from pancode.app.schema import SCHEMA
from pancode.kernel.errors import UnavailableError
from pancode.kernel.records import Node, Record, Run, RunState, Setting
from pancode.runs.core import BEHIND, Core
from pancode.runs.life.case import MAX_BINDINGS
from pancode.runs.life.jobs import NUMBERS_IN_AN_EPOCH
from pancode.runs.restored.hold import begin_hold
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.runs.world import Desk, Puppet, entry_of, offered

Rows = dict[type[Record], list[Record]]


def backup(coordinator: Desk) -> Rows:
    with coordinator.ledger.transaction() as tx:
        return {kind: tx.find(kind) for kind in SCHEMA.tables}


def restore(coordinator: Desk, rows: Rows) -> None:
    with coordinator.ledger.transaction() as tx:
        for kind in SCHEMA.tables:
            for record in tx.find(kind):
                tx.delete(kind, *(getattr(record, name) for name in kind.TABLE.key))
            for record in rows[kind]:
                tx.insert(record)


def test_what_is_dispatched_and_bound_in_one_life_counts_from_one() -> None:
    coordinator = Desk()
    node, job = offered(coordinator)
    node.say(job.identity, Refused(why=JobRefusal.NO_SLOT, detail="x"))
    coordinator.turn(10_000)
    node.breathe()
    assert coordinator.row(Run, "r-0001").lease == 2


def test_what_is_older_than_this_life_counts_from_where_no_other_life_has_been() -> None:
    coordinator = Desk()
    node, job = offered(coordinator)
    node.say(job.identity, Refused(why=JobRefusal.NO_SLOT, detail="x"))
    coordinator.turn(10_000)
    coordinator.restart()
    node.session = "another"
    node.breathe()
    assert coordinator.row(Run, "r-0001").lease == coordinator.core.epoch * NUMBERS_IN_AN_EPOCH + 1


def test_refusals_are_counted_by_binding_not_by_number() -> None:
    coordinator = Desk()
    node, job = offered(coordinator)
    coordinator.restart()
    node.session = "another"
    for _ in range(MAX_BINDINGS):
        node.say(job.identity, Refused(why=JobRefusal.NO_SLOT, detail="x"))
        coordinator.turn()
        node.breathe()
        node.breathe()
        again = node.claim()
        assert coordinator.row(Run, "r-0001").state is RunState.PENDING
        assert again is not None and again.identity != job.identity
        job = again
    node.say(job.identity, Refused(why=JobRefusal.NO_SLOT, detail="x"))
    coordinator.turn()
    assert coordinator.row(Run, "r-0001").state is RunState.ENDED


def test_a_whole_disk_that_was_rolled_back_learns_from_journals() -> None:
    """Nothing on it says that it is old, and a node that has missed our silence does not say so either."""
    coordinator = Desk()
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch()
    saved = backup(coordinator)
    names = set()
    for life in (1, 2):
        restore(coordinator, saved)
        coordinator.epochs.keep(1)
        coordinator.restart()
        node.session = f"life {life}"
        coordinator.redis.wipe()
        coordinator.redis.bus().admit_node(node.tag, "password")
        coordinator.turn(5_000)
        node.heartbeat()
        node.inventory()
        coordinator.turn()
        coordinator.turn()
        job = node.take()
        assert job.epoch == 2
        node.journal = [entry_of(job, Mark.REFUSED)]
        names.add(job.identity)
    assert len(names) == 2


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_a_node_that_has_lived_through_this_epoch_ends_it(ahead: int) -> None:
    coordinator = Desk()
    node = Puppet(coordinator)
    node.breathe()
    seen = coordinator.core.epoch + 1 + ahead
    coordinator.restart()
    node.control_seen = seen * NUMBERS_IN_AN_EPOCH + 7
    node.heartbeat(epoch_seen=seen)
    coordinator.turn()
    assert coordinator.core.epoch == seen + 1
    told = [control.body.kind for control in node.controls()]
    assert told == ["slots", "drain"]


def test_no_epoch_begins_that_could_not_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator = Desk()
    before = coordinator.core.epoch

    def full(epoch: int) -> None:
        raise UnavailableError(f"no space for epoch {epoch}")

    monkeypatch.setattr(coordinator.epochs, "keep", full)
    with pytest.raises(UnavailableError):
        coordinator.restart()
    assert coordinator.core.epoch == 0
    monkeypatch.undo()
    coordinator.restart()
    assert coordinator.core.epoch == before + 2


def _has_a_newer_epoch(coordinator: Desk, node: Puppet) -> None:
    seen = coordinator.core.epoch + 3
    coordinator.restart()
    node.heartbeat(epoch_seen=seen, control_seen=seen * NUMBERS_IN_AN_EPOCH + 7)


def _has_a_later_message(coordinator: Desk, node: Puppet) -> None:
    seen = coordinator.core.epoch
    coordinator.restart()
    node.heartbeat(epoch_seen=seen, control_seen=seen * NUMBERS_IN_AN_EPOCH + 40)


def _has_an_unknown_attempt(coordinator: Desk, node: Puppet) -> None:
    saved = backup(coordinator)
    coordinator.dispatch()
    coordinator.turn()
    job = node.take()
    restore(coordinator, saved)
    coordinator.restart()
    node.session = "another"
    node.heartbeat()
    coordinator.turn()
    node.heartbeat()
    node.journal = [entry_of(job, Mark.SPAWNED)]
    node.inventory()


def _has_nothing_new(coordinator: Desk, node: Puppet) -> None:
    seen = coordinator.core.epoch
    node.control_seen = coordinator.row(Node, node.name).control_seq
    coordinator.restart()
    node.heartbeat(epoch_seen=seen)
    coordinator.turn()
    node.heartbeat()
    node.inventory()


TELLS = [_has_a_newer_epoch, _has_a_later_message, _has_an_unknown_attempt]


@pytest.mark.parametrize("tells", [*TELLS, _has_nothing_new])
def test_a_coordinator_that_leads_acts_no_more_once_a_node_knows_what_its_ledger_lacks(
    tells: Callable[[Desk, Puppet], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Core.enter

    def enter(core: Core, epoch: int) -> None:
        start(core, epoch)
        core.ends_if_behind = True

    monkeypatch.setattr(Core, "enter", enter)
    coordinator = Desk()
    node = Puppet(coordinator)
    node.breathe()
    tells(coordinator, node)
    coordinator.dispatch("r-0009")
    coordinator.turn()
    is_behind = tells is not _has_nothing_new
    assert coordinator.core.is_behind is is_behind
    assert coordinator.row(Run, "r-0009").lease == (0 if is_behind else 1)
    with coordinator.ledger.transaction() as tx:
        told = tx.get(Setting, BEHIND)
    assert (told is not None and str(told.value).startswith(f"{node.name} has ")) is is_behind


def test_what_nodes_know_beyond_a_restored_ledger_that_was_taken_up_is_expected() -> None:
    coordinator = Desk()
    node = Puppet(coordinator)
    node.breathe()
    with unit_of_work(coordinator.core) as work:
        begin_hold(work, "restored", has_led=False)
    _has_an_unknown_attempt(coordinator, node)
    coordinator.core.ends_if_behind = True
    coordinator.turn()
    assert not coordinator.core.is_behind
