"""A coordinator on a ledger that is older than what it has signed: nothing is given out twice."""

from __future__ import annotations

import pytest

from node_agent.wire.event import Refused
from node_agent.wire.failure import OrderRefusal
from node_agent.wire.identity import AttemptId
from node_agent.wire.marks import Mark
from pancode.domain.life.moves import MAX_BINDINGS
from pancode.domain.orders import NUMBERS_IN_AN_EPOCH
from pancode.domain.records import ALL, Record, Run, RunState
from pancode.errors import UnavailableError
from tests.unit.pancode.control.world import Desk, Puppet, entry_of, offered

Rows = dict[type[Record], list[Record]]


def backup(desk: Desk) -> Rows:
    with desk.ledger.transaction() as tx:
        return {kind: tx.find(kind) for kind in ALL}


def restore(desk: Desk, rows: Rows) -> None:
    with desk.ledger.transaction() as tx:
        for kind in ALL:
            for record in tx.find(kind):
                tx.delete(kind, *(getattr(record, name) for name in kind.TABLE.key))
            for record in rows[kind]:
                tx.insert(record)


def bound_after(desk: Desk, node: Puppet) -> AttemptId:
    """What the coordinator signs next, on a Redis that has forgotten everything."""
    desk.redis.wipe()
    desk.redis.bus().admit_node(node.tag, "password")
    node.breathe()
    desk.turn()
    order = node.claim()
    assert order is not None
    return order.identity


@pytest.mark.parametrize("disk_lost", [False, True])
def test_a_forgotten_order_is_not_signed_again_by_the_same_name(disk_lost: bool) -> None:
    desk = Desk()
    node = Puppet(desk)
    node.breathe()
    desk.dispatch()
    saved = backup(desk)
    names, epochs = set(), {desk.plane.core.epoch}
    desk.turn()
    forgotten = node.claim()
    assert forgotten is not None
    names.add(forgotten.identity)
    for life in (1, 2):
        desk.clock.ms += 5_000
        restore(desk, saved)
        if disk_lost:
            desk.epochs.lose()
        desk.restart()
        node.session = f"after {life}"
        names.add(bound_after(desk, node))
        epochs.add(desk.plane.core.epoch)
    assert len(names) == 3 and len(epochs) == 3


def test_what_is_dispatched_and_bound_in_one_life_counts_from_one() -> None:
    desk = Desk()
    node, order = offered(desk)
    node.say(order.identity, Refused(why=OrderRefusal.NO_SLOT, detail="x"))
    desk.turn(10_000)
    node.breathe()
    assert desk.row(Run, "r-0001").fence == 2


def test_what_is_older_than_this_life_counts_from_where_no_other_life_has_been() -> None:
    desk = Desk()
    node, order = offered(desk)
    node.say(order.identity, Refused(why=OrderRefusal.NO_SLOT, detail="x"))
    desk.turn(10_000)
    desk.restart()
    node.session = "another"
    node.breathe()
    assert desk.row(Run, "r-0001").fence == desk.plane.core.epoch * NUMBERS_IN_AN_EPOCH + 1


def test_refusals_are_counted_by_binding_not_by_number() -> None:
    desk = Desk()
    node, order = offered(desk)
    desk.restart()
    node.session = "another"
    for _ in range(MAX_BINDINGS):
        node.say(order.identity, Refused(why=OrderRefusal.NO_SLOT, detail="x"))
        desk.turn()
        node.breathe()
        node.breathe()
        again = node.claim()
        assert desk.row(Run, "r-0001").state is RunState.PENDING
        assert again is not None and again.identity != order.identity
        order = again
    node.say(order.identity, Refused(why=OrderRefusal.NO_SLOT, detail="x"))
    desk.turn()
    assert desk.row(Run, "r-0001").state is RunState.ENDED


def test_a_whole_disk_that_was_rolled_back_learns_from_journals() -> None:
    """Nothing on it says that it is old, and a node that has missed our silence does not say so either."""
    desk = Desk()
    node = Puppet(desk)
    node.breathe()
    desk.dispatch()
    saved = backup(desk)
    names = set()
    for life in (1, 2):
        restore(desk, saved)
        desk.epochs.keep(1)
        desk.restart()
        node.session = f"life {life}"
        desk.redis.wipe()
        desk.redis.bus().admit_node(node.tag, "password")
        desk.turn(5_000)
        node.heartbeat()
        node.inventory()
        desk.turn()
        desk.turn()
        order = node.claim()
        assert order is not None and order.epoch == 2
        node.journal = [entry_of(order, Mark.REFUSED)]
        names.add(order.identity)
    assert len(names) == 2


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_a_node_that_has_lived_through_this_epoch_ends_it(ahead: int) -> None:
    desk = Desk()
    node = Puppet(desk)
    node.breathe()
    seen = desk.plane.core.epoch + 1 + ahead
    desk.restart()
    node.control_seen = seen * NUMBERS_IN_AN_EPOCH + 7
    node.heartbeat(epoch_seen=seen)
    desk.turn()
    assert desk.plane.core.epoch == seen + 1
    told = [control.body.kind for control in node.controls()]
    assert told == ["slots", "drain"]


def test_no_epoch_begins_that_could_not_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    before = desk.plane.core.epoch

    def full(epoch: int) -> None:
        raise UnavailableError(f"no space for epoch {epoch}")

    monkeypatch.setattr(desk.epochs, "keep", full)
    with pytest.raises(UnavailableError):
        desk.restart()
    assert desk.plane.core.epoch == 0
    monkeypatch.undo()
    desk.restart()
    assert desk.plane.core.epoch == before + 2
