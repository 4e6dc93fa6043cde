"""A node with its own key that lies: it may cost itself its work, never the others theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node_agent.wire.event import Events, Finding, Refused
from node_agent.wire.failure import OrderRefusal
from node_agent.wire.heartbeat import Heartbeat
from node_agent.wire.identity import AttemptId
from node_agent.wire.inventory import JournalEntry
from node_agent.wire.marks import Mark
from node_agent.wire.order import Order
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import WireRefusal, open_as
from pancode.control.core import MOST_TOLD, TOLD_CHARS
from pancode.control.heard import MOST_RAISES
from pancode.domain.records import Audit, Decision, Run, RunState, StoredReceipt
from tests.unit.pancode.control.world import Desk, Puppet

NESTED = b'{"v":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


class Fleet:
    """A liar and an honest node."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.liar, self.honest = Puppet(self.desk, "liar"), Puppet(self.desk, "honest")
        self.breathe()

    def breathe(self) -> None:
        for node in (self.liar, self.honest):
            node.breathe()

    def alarms(self) -> list[Any]:
        return [a for a in self.desk.rows(Audit) if a.domain == "trust" and a.level == "error"]

    def still_works(self) -> None:
        """A run that is for the honest node alone comes to its end."""
        run = self.desk.dispatch("r-good", node="honest")
        for _ in range(3):
            self.honest.breathe()
        due = self.honest.claim()
        assert due is not None and due.identity.run == run.id
        self.honest.start(due)
        self.honest.deliver(due, exit_code=0)
        self.desk.turn()
        assert self.desk.row(Run, run.id).state is RunState.ENDED


@pytest.mark.parametrize("seen", [2**53 - 1, 30_000_000])
def test_an_epoch_that_never_was(seen: int) -> None:
    fleet = Fleet()
    before = fleet.desk.plane.core.epoch
    fleet.liar.heartbeat(epoch_seen=seen)
    fleet.desk.turn()
    assert fleet.desk.plane.core.epoch == before and len(fleet.alarms()) == 1
    fleet.still_works()


def test_a_control_number_that_never_was() -> None:
    fleet = Fleet()
    fleet.liar.heartbeat(control_seen=2**53 - 1)
    fleet.desk.turn()
    assert len(fleet.alarms()) == 1
    fleet.still_works()


def test_one_node_cannot_raise_the_epoch_for_ever() -> None:
    fleet = Fleet()
    before = fleet.desk.plane.core.epoch
    for _ in range(4 * MOST_RAISES):
        fleet.liar.heartbeat(epoch_seen=fleet.desk.plane.core.epoch + 1)
        fleet.desk.turn()
    assert fleet.desk.plane.core.epoch <= before + 2 * MOST_RAISES
    assert [a.detail["code"] for a in fleet.alarms()] == ["impossible"]
    fleet.still_works()


def taken(fleet: Fleet) -> Order:
    """A run of the liar's, accepted by it."""
    fleet.desk.dispatch("r-bad0", node="liar")
    fleet.liar.breathe()
    due = fleet.liar.claim()
    assert due is not None
    return due


@pytest.mark.parametrize("fence", [999_999_999, 500_000_001, 200_000])
def test_a_fence_that_never_was_leaves_the_run_its_numbers(fence: int) -> None:
    fleet = Fleet()
    due = taken(fleet)
    fleet.liar.say(due.identity, Refused(why=OrderRefusal.CEILING, detail="no"))
    strange = AttemptId(run=due.identity.run, attempt=1, fence=fence)
    fleet.liar.journal = [JournalEntry(identity=strange, order="1" * 64, mark=Mark.REFUSED, last_event=1)]
    for _ in range(4):
        fleet.liar.breathe()
    assert fleet.desk.row(Run, due.identity.run).fence < 10
    assert len(fleet.alarms()) == 1
    fleet.still_works()


@pytest.mark.parametrize("kind", [Events, Receipt])
def test_nesting_without_end_in_a_signed_message(kind: type[Events] | type[Receipt]) -> None:
    fleet = Fleet()
    fleet.liar.uplink.send(fleet.liar.key.sign(kind.payload_type(), NESTED).model_dump_json())
    fleet.liar.uplink.send('{"payloadType":"x","payload":"é","signatures":[]}')
    fleet.desk.turn()
    fleet.still_works()


def test_nesting_without_end_in_a_signed_heartbeat() -> None:
    fleet = Fleet()
    envelope = fleet.liar.key.sign(Heartbeat.payload_type(), NESTED)
    fleet.liar.uplink.set_heartbeat(envelope.model_dump_json())
    fleet.desk.turn()
    fleet.liar.uplink.set_heartbeat(envelope.model_copy(update={"payload": "é"}).model_dump_json())
    fleet.desk.turn()
    fleet.still_works()


def test_a_receipt_that_is_about_something_else_than_it_claims() -> None:
    fleet = Fleet()
    due = taken(fleet)
    fleet.liar.start(due)
    honest = fleet.liar.receipt(due)
    body = json.loads(honest.body())
    body["subject"] = [{"name": "main", "digest": {"gitCommit": "f" * 40}}]
    forged = fleet.liar.key.sign(Receipt.payload_type(), json.dumps(body).encode())
    with pytest.raises(WireRefusal, match="subjects"):
        open_as(Receipt, forged, {fleet.liar.key.public.keyid: fleet.liar.key.public})
    fleet.liar.uplink.send(forged.model_dump_json())
    fleet.desk.turn()
    assert fleet.desk.rows(StoredReceipt) == [] and len(fleet.alarms()) == 1
    fleet.liar.uplink.send(honest.model_dump_json())
    fleet.desk.turn()
    assert len(fleet.desk.rows(StoredReceipt)) == 1


def test_what_a_liar_says_of_costs_stays_a_number() -> None:
    fleet = Fleet()
    due = taken(fleet)
    fleet.liar.start(due)
    body = json.loads(fleet.liar.receipt(due).body())
    for usage in ({"cost_usd": "1E+9999999"}, {"input_tokens": 10**30}):
        body["predicate"]["usage"] |= usage
        fleet.liar.uplink.send(
            fleet.liar.key.sign(Receipt.payload_type(), json.dumps(body).encode()).model_dump_json()
        )
        fleet.desk.turn()
    assert fleet.desk.rows(StoredReceipt) == []
    fleet.desk.check_books()
    fleet.still_works()


def test_a_node_that_never_stops_talking_does_not_fill_the_ledger() -> None:
    fleet = Fleet()
    due = taken(fleet)
    fleet.liar.start(due)
    fleet.desk.turn()
    for _ in range(3):
        fleet.liar.say(due.identity, Finding(level="info", text="x" * 1_000_000))
    fleet.desk.turn()
    told = fleet.desk.rows(Decision, run=due.identity.run)
    assert max(len(one.detail) for one in told) == TOLD_CHARS
    core = fleet.desk.plane.core
    with core.ports.ledger.transaction() as tx:
        tx.insert(Decision(due.identity.run, MOST_TOLD, 0, "node", "n", "v", ""))
    core.live.told.clear()  # behind its back
    for _ in range(3):
        fleet.liar.say(due.identity, Finding(level="info", text="one more"))
    fleet.desk.turn()
    fleet.liar.deliver(due)
    fleet.desk.turn()
    kinds = [one.kind for one in fleet.desk.rows(Decision, run=due.identity.run) if one.number > MOST_TOLD]
    assert kinds == ["settle"]
    fleet.still_works()


@pytest.mark.parametrize("what", ["exit_code", "signal", "epoch", "started_wall_ms", "last_event"])
def test_a_number_that_no_column_holds_is_not_believed(what: str) -> None:
    fleet = Fleet()
    due = taken(fleet)
    fleet.liar.start(due)
    body = json.loads(fleet.liar.receipt(due).body())
    body["predicate"][what] = 2**70
    forged = fleet.liar.key.sign(Receipt.payload_type(), json.dumps(body).encode())
    with pytest.raises(WireRefusal, match=what):
        open_as(Receipt, forged, {fleet.liar.key.public.keyid: fleet.liar.key.public})
    fleet.liar.uplink.send(forged.model_dump_json())
    fleet.desk.turn()
    assert len(fleet.alarms()) == 1
    fleet.still_works()
