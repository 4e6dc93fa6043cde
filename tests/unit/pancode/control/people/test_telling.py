"""A run is told something: before its order is signed with its task, after that for the next one."""

from __future__ import annotations

from pancode.control.people.answering import tell
from pancode.domain.records import Audit, Decision, Run
from pancode.domain.values import replace
from tests.unit.pancode.control.world import Desk, Puppet, facts


def test_with_its_task_until_its_order_is_signed() -> None:
    desk = Desk()
    desk.dispatch("r-0001", runtime="native", model="m", task="do it")
    run = tell(desk.plane.core, "r-0001", "use spec/", "ana")
    assert run.task == "do it\n\nA person adds: use spec/"
    assert [d.verdict for d in desk.rows(Decision, run="r-0001") if d.kind == "person"] == [
        "delivered with its task"
    ]
    (row,) = desk.rows(Audit, domain="people")
    assert (row.detail["by"], row.detail["delivered"]) == ("ana", True)


def test_an_order_that_is_signed_is_not_changed() -> None:
    desk = Desk()
    node = Puppet(desk)
    node.facts = facts()
    node.breathe()
    desk.dispatch("r-0001", task="do it", terms={})
    desk.turn()
    assert node.claim() is not None
    with desk.ledger.transaction() as tx:
        run = tx.get(Run, "r-0001")
    assert run is not None
    with desk.ledger.transaction() as tx:  # the puppet runs commands only: what counts is the signed order
        tx.put(replace(run, runtime="native"))
    told = tell(desk.plane.core, "r-0001", "use spec/", "ana")
    assert told.task == "do it" and told.terms["told"] == [
        {"by": "ana", "at_ms": desk.clock.wall_ms(), "text": "use spec/", "delivered": ""}
    ]
