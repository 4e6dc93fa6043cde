"""A new key for the coordinator: nothing stops for a node that does not know it yet, no receipt is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.control import Acknowledge, Drain
from node_agent.wire.job import Job
from node_agent.wire.node import NodeProblem, ProblemCode
from node_agent.wire.signing import PublicKey, SigningKey, parse_envelope
from pancode.fleet import inventory
from pancode.kernel.records import Audit, Lease, Node, Run, RunState, StoredReceipt
from pancode.runs import keyring
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import facts

FRESH = SigningKey(b"f" * 32)


class Rotation(World):
    """A node, and a coordinator whose key is replaced."""

    def run(self, name: str) -> Job:
        """From dispatch to the acknowledgement, which the node believes."""
        self.context.dispatch(name)
        self.node.breathe()
        job = self.node.carry_out(exit_code=0)
        assert [type(c.body) for c in self.node.controls()][-1] is Acknowledge
        assert self.context.row(Run, name).state is RunState.ENDED
        return job

    def bring_up(self, *keys: PublicKey) -> None:
        """What `fleet up` writes on the node."""
        self.node.obeys = {key.keyid: key for key in keys}
        self.node.breathe()

    def signer(self, run: str) -> str:
        return parse_envelope(self.context.row(Lease, run, 1).job).signatures[0].keyid

    def verdict(self, run: str) -> str:
        return str(self.http.get(f"/v1/runs/{run}/verify").json()["verdict"])

    def keys(self) -> dict[str, Any]:
        rows = self.http.get("/v1/keys").json()["keys"]
        return {row["keyid"]: row for row in rows if row["role"] == "coordinator"}


@pytest.fixture
def fleet(tmp_path: Path) -> Rotation:
    return Rotation(tmp_path)


def test_a_node_is_spoken_to_with_the_key_that_it_knows(fleet: Rotation) -> None:
    old = fleet.context.key.public
    fleet.run("r-0001")
    keyring.rotate_key(fleet.context.core, FRESH, "ana")
    fleet.run("r-0002")
    assert fleet.signer("r-0002") == old.keyid, "it was not brought up since"
    assert fleet.keys()[old.keyid]["nodes"] == ["n1"] and fleet.keys()[FRESH.public.keyid]["nodes"] == []
    assert keyring.retire_keys(fleet.context.core) == ()
    fleet.bring_up(FRESH.public, old)
    fleet.run("r-0003")
    assert fleet.signer("r-0003") == FRESH.public.keyid
    assert keyring.retire_keys(fleet.context.core) == (old.keyid,)
    fleet.bring_up(FRESH.public)
    fleet.run("r-0004")
    assert [fleet.verdict(f"r-000{n}") for n in range(1, 5)] == ["PASS"] * 4
    assert fleet.keys()[old.keyid]["until"] is not None and fleet.keys()[FRESH.public.keyid]["until"] is None
    said = [a.what for a in fleet.context.rows(Audit) if "coordinator key" in a.what]
    assert said == ["coordinator key rotated", "former coordinator key retired"]


def test_after_a_restart_the_former_key_still_speaks_for_who_needs_it(fleet: Rotation) -> None:
    old, fleet.context.key = fleet.context.key, FRESH
    keyring.rotate_key(fleet.context.core, FRESH, "ana")
    fleet.context.former.append(old)
    fleet.context.restart()
    fleet.run("r-0001")
    assert fleet.signer("r-0001") == old.public.keyid


def test_an_answer_is_given_again_with_the_key_that_the_node_knows_by_then(fleet: Rotation) -> None:
    """Its acknowledgement was lost, and it was brought up with the new key alone."""
    old = fleet.context.key.public
    fleet.run("r-0001")
    keyring.rotate_key(fleet.context.core, FRESH, "ana")
    fleet.bring_up(FRESH.public, old)
    fleet.bring_up(FRESH.public)
    (stored,) = fleet.context.rows(StoredReceipt)
    sent = parse_envelope(stored.envelope)
    own = sent.model_copy(update={"signatures": sent.signatures[:1]})
    fleet.node.uplink.send(own.model_dump_json())
    fleet.context.turn(10_000)
    last = fleet.node.controls()[-1].body
    assert isinstance(last, Acknowledge) and last.countersignature.keyid == FRESH.public.keyid
    assert fleet.context.rows(StoredReceipt) == [stored]


def test_no_honest_node_is_left_anything_that_our_retired_key_has_signed(fleet: Rotation) -> None:
    """Its stream is read from the beginning at each start, with the new key alone: none there is forged."""
    old, node = fleet.context.key.public, fleet.node
    fleet.run("r-0001")
    inventory.drain(fleet.context.core, "n1", "a look", "ana")
    fleet.context.turn()
    keyring.rotate_key(fleet.context.core, FRESH, "ana")
    fleet.bring_up(FRESH.public, old)
    fleet.bring_up(FRESH.public)
    fleet.context.turn(20_000)
    sent = node.uplink.news("0").controls
    signers = {parse_envelope(one.data).signatures[0].keyid for one in sent}
    assert signers == {FRESH.public.keyid}
    drains = [c.body for c in node.controls() if isinstance(c.body, Drain)]
    assert drains[-1].on, "what it had not read yet is said anew"


def test_of_a_lost_key_nothing_is_left_on_the_way_to_a_node(fleet: Rotation) -> None:
    """Else it calls our own words forged: the lost key's, and those of the new one until it is brought up."""
    coordinator, node = fleet.context, fleet.node
    fleet.run("r-0001")
    inventory.drain(coordinator.core, "n1", "a look", "ana")
    coordinator.turn()
    with coordinator.ledger.transaction() as tx:
        keyring.keep_obeyed(tx, coordinator.key.public)
    coordinator.key = FRESH
    coordinator.restart()
    forged = NodeProblem(what="a heartbeat was not accepted: unknown_key", code=ProblemCode.FORGED_HEARTBEAT)
    node.heartbeat(facts=facts(problems=(forged,)))
    coordinator.turn()
    assert not [row for row in coordinator.rows(Audit) if row.what == "what was sent to the node refused"]
    fleet.bring_up(FRESH.public)
    coordinator.turn(20_000)
    sent = node.uplink.news("0").controls
    assert {parse_envelope(one.data).signatures[0].keyid for one in sent} == {FRESH.public.keyid}
    drains = [c.body for c in node.controls() if isinstance(c.body, Drain)]
    assert drains[-1].on, "what it had not read yet is said anew"
    node.heartbeat(facts=facts(problems=(forged,)))
    coordinator.turn()
    assert [row for row in coordinator.rows(Audit) if row.what == "what was sent to the node refused"], (
        "now it is one"
    )


def test_the_old_key_is_needed_while_a_job_waits_that_it_has_signed(fleet: Rotation) -> None:
    core, old = fleet.context.core, fleet.context.key.public
    fleet.context.dispatch("r-0001")
    fleet.context.turn()
    keyring.rotate_key(fleet.context.core, FRESH, "ana")
    fleet.bring_up(FRESH.public, old)
    assert keyring.retire_keys(fleet.context.core) == ()
    believed = keyring.believed_by(core, fleet.context.row(Node, "n1"))
    assert believed == [FRESH.public, old], "the next fleet up leaves it there"
    job = fleet.node.take()
    assert fleet.signer("r-0001") == old.keyid
    fleet.node.start(job)
    fleet.context.turn()
    assert keyring.retire_keys(fleet.context.core) == (old.keyid,)
    assert keyring.believed_by(core, fleet.context.row(Node, "n1")) == [FRESH.public]


def test_a_node_that_says_that_it_knows_neither_key_changes_nothing(fleet: Rotation) -> None:
    fleet.node.heartbeat(obeys=(SigningKey(b"x" * 32).public.keyid,))
    fleet.context.turn()
    assert fleet.context.row(Node, "n1").obeys is None


def test_rotation_over_the_api(fleet: Rotation) -> None:
    answer = fleet.http.post("/v1/keys/rotate", {"by": "ana"}).json()
    assert len([row for row in answer["keys"] if row["role"] == "coordinator"]) == 2
