"""Receipts that a node has no right to send: none is countersigned, none is shown as proof."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.control import Acknowledge, Orphaned, Reject
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import Envelope, SigningKey, open_as, parse_envelope
from pancode.fleet import inventory
from pancode.kernel.records import Audit, Lease, Run, StoredReceipt
from pancode.runs.receipts.offline_verification import verify_file
from tests.unit.pancode.interfaces.http.world import MemoryCoordinator, client_of
from tests.unit.pancode.runs.world import Desk, Puppet


class Theft:
    """A run on the node `vm`, and the node `nb`, which signs receipts of it with its own key."""

    def __init__(self, home: Path) -> None:
        self.coordinator, self.home = Desk(), home
        self.vm, self.nb = Puppet(self.coordinator, "vm"), Puppet(self.coordinator, "nb")
        for node in (self.vm, self.nb):
            node.breathe()
        self.coordinator.dispatch("r-0001", node="vm")
        self.coordinator.turn()
        self.job = self.claimed()
        self.http = client_of(MemoryCoordinator(self.coordinator, home))

    def claimed(self) -> Job:
        job = self.vm.take()
        self.vm.start(job)
        self.coordinator.turn()
        return job

    def forge(self, **changes: Any) -> Envelope:
        """As hijack.py and hijack2.py did: nb's key and tag, vm's run and name."""
        said = {"node_name": "vm", "order": "0" * 64, "reason": "all good", "answer": "I did it."}
        return self.nb.deliver(self.job, **{**said, **changes})

    def answers(self) -> list[Any]:
        self.coordinator.turn()
        return [c.body for c in self.nb.controls() if isinstance(c.body, Acknowledge | Orphaned | Reject)]

    def verdict(self) -> str:
        return str(self.http.get("/v1/runs/r-0001/verify").json()["verdict"])

    def offline(self, envelope: Envelope) -> dict[str, Any]:
        receipt, keys = self.home / "receipt.json", self.home / "keys.json"
        receipt.write_text(envelope.model_dump_json())
        keys.write_text(self.http.get("/v1/export").text)
        return dict(verify_file(receipt, keys))


@pytest.fixture
def theft(tmp_path: Path) -> Theft:
    return Theft(tmp_path)


def _unknown_lease(theft: Theft) -> dict[str, Any]:
    return {"identity": AttemptId(run="r-0001", attempt=1, lease=999)}


def _real_lease(theft: Theft) -> dict[str, Any]:
    return {"epoch": 77}


def _unknown_run(theft: Theft) -> dict[str, Any]:
    return {"identity": AttemptId(run="r-nowhere", attempt=1, lease=1)}


@pytest.mark.parametrize("forged", [_unknown_lease, _real_lease, _unknown_run])
def test_no_receipt_of_another_node_s_run_is_countersigned(theft: Theft, forged: Any) -> None:
    envelope = theft.forge(**forged(theft))
    (answer,) = theft.answers()
    assert not isinstance(answer, Acknowledge)
    ours = theft.coordinator.key.public.keyid
    assert ours not in "".join(row.envelope for row in theft.coordinator.rows(StoredReceipt))
    assert ours not in "".join(text for _, text in theft.coordinator.archive.stored)
    assert theft.verdict() == "NOT_FOUND", "while it runs there is no receipt of it"
    assert theft.offline(envelope)["verdict"] == "UNSIGNED"
    theft.vm.deliver(theft.job, exit_code=0)
    theft.coordinator.turn()
    assert theft.verdict() == "PASS"
    assert theft.coordinator.row(Run, "r-0001").result["node"] == "vm"


def test_a_forged_receipt_of_another_lease_is_on_record_and_is_not_kept(theft: Theft) -> None:
    theft.forge(epoch=77)
    (answer,) = theft.answers()
    assert isinstance(answer, Reject) and "was assigned to vm" in answer.reason
    assert theft.coordinator.rows(StoredReceipt) == []
    assert [
        a.detail["node"] for a in theft.coordinator.rows(Audit) if a.what == "foreign receipt dropped"
    ] == ["nb"]


def test_an_orphan_is_kept_and_answered_again_without_a_signature_over_it(theft: Theft) -> None:
    envelope = theft.forge(**_unknown_run(theft))
    assert [type(a) for a in theft.answers()] == [Orphaned]
    theft.nb.uplink.send(envelope.model_dump_json())
    theft.coordinator.clock.ms += 10_000
    assert [type(a) for a in theft.answers()] == [Orphaned]
    (stored,) = theft.coordinator.rows(StoredReceipt)
    assert stored.orphan and parse_envelope(stored.envelope) == envelope


def test_a_countersigned_forgery_is_no_pass_where_its_key_has_another_name(theft: Theft) -> None:
    """The sample of the review: nb's key, vm's name, and a coordinator that had countersigned it."""
    forged = theft.coordinator.key.countersign(theft.forge(**_unknown_lease(theft)))
    told = theft.offline(forged)
    assert told["verdict"] == "TAMPERED"
    (bad,) = [c for c in told["checks"] if not c["ok"]]
    assert bad["what"] == "signed by the node that it names"
    assert bad["detail"] == "it names 'vm', but its key is that of nb"


@pytest.mark.parametrize("name", ["nb", "vm" + "x" * 98, "\u0475m"])
def test_a_node_that_gives_itself_another_name_is_rejected(theft: Theft, name: str) -> None:
    theft.vm.deliver(theft.job, node_name=name)
    theft.coordinator.turn()
    run = theft.coordinator.row(Run, "r-0001")
    assert run.failure == "receipt_rejected" and "is enrolled for 'vm'" in run.reason
    assert theft.verdict() != "PASS"


@pytest.mark.parametrize("more", [1, 3])
def test_what_is_signed_often_is_kept_signed_once(theft: Theft, more: int) -> None:
    """Own signature four times, and own with key ids that begin like it: four came in, five were stored."""
    envelope = theft.vm.receipt(theft.job, exit_code=0)
    own = envelope.signatures[0]
    alike = own.model_copy(update={"keyid": own.keyid[:10] + "0" * 54})
    for extra in (own, alike):
        sent = envelope.model_copy(update={"signatures": (*([extra] * more), own)})
        theft.vm.uplink.send(sent.model_dump_json())
        theft.coordinator.turn()
    (stored,) = theft.coordinator.rows(StoredReceipt)
    assert len(parse_envelope(stored.envelope).signatures) == 2
    assert theft.verdict() == "PASS"
    assert theft.http.get("/v1/receipts/r-0001").status_code == 200


def test_countersigning_never_makes_an_envelope_that_nobody_can_read() -> None:
    key = SigningKey(b"k" * 32)
    envelope = key.sign(Receipt.payload_type(), b"{}")
    full = envelope.model_copy(update={"signatures": envelope.signatures * 4})
    with pytest.raises(ValueError, match="at most 4"):
        SigningKey(b"c" * 32).countersign(full)


def test_a_new_node_key_leaves_the_older_receipts_verifiable(theft: Theft) -> None:
    theft.vm.deliver(theft.job, exit_code=0)
    theft.coordinator.turn()
    old = parse_envelope(theft.coordinator.rows(StoredReceipt)[0].envelope)
    theft.coordinator.clock.ms += 1_000
    inventory.enrol(theft.coordinator.core, "vm", SigningKey(b"2" * 32).public.text())
    assert theft.verdict() == "PASS"
    assert theft.offline(old)["verdict"] == "PASS"
    keys = json.loads((theft.home / "keys.json").read_text())["keys"]
    former, now = [k for k in keys if k["name"] == "vm"]
    assert former["until"] is not None and now["until"] is None and former["from"] < now["from"]
    assert "in use until" in theft.offline(old)["checks"][0]["detail"]


def test_a_removed_node_s_receipts_stay_verifiable(theft: Theft) -> None:
    theft.vm.deliver(theft.job, exit_code=0)
    theft.coordinator.turn()
    inventory.forget(theft.coordinator.core, "vm")
    assert theft.verdict() == "PASS"


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_was_set_around_the_enrolment_makes_no_receipt_a_forgery(
    theft: Theft, hours: int
) -> None:
    """Accepted before its key was enrolled, or after it was replaced, as the clock says it."""
    theft.vm.deliver(theft.job, exit_code=0)
    theft.coordinator.turn()
    inventory.enrol(theft.coordinator.core, "vm", SigningKey(b"2" * 32).public.text())
    (stored,) = theft.coordinator.rows(StoredReceipt)
    with theft.coordinator.ledger.transaction() as tx:
        tx.put(replace(stored, stored_ms=stored.stored_ms + hours * 3_600_000))
    assert theft.verdict() == "PASS"


@pytest.mark.parametrize("whose", ["another key's", "another job", "not the coordinator's", "gone"])
def test_the_job_that_it_answers_was_signed_for_its_key(theft: Theft, whose: str) -> None:
    theft.vm.deliver(theft.job, exit_code=0)
    theft.coordinator.turn()
    lease, key = theft.coordinator.row(Lease, "r-0001", 1), theft.coordinator.key
    other = theft.job.model_copy(update={"node": theft.nb.tag} if "key" in whose else {"depth": 7})
    forged = theft.job.signed(theft.nb.key) if "coordinator" in whose else other.signed(key)
    with theft.coordinator.ledger.transaction() as tx:
        tx.put(replace(lease, job=forged.model_dump_json()))
        if whose == "gone":
            tx.delete(Lease, "r-0001", 1)
    told = theft.http.get("/v1/runs/r-0001/verify").json()
    assert told["verdict"] == "TAMPERED"
    wrong = [c["what"] for c in told["checks"] if not c["ok"]]
    assert wrong == ["the job that it answers was signed for its key"]


def test_the_forgery_is_one_that_opens_with_the_thief_s_own_key(theft: Theft) -> None:
    """The attack is real: its signature holds, and its statement is well formed."""
    forged = theft.forge(**_unknown_lease(theft))
    assert (
        open_as(Receipt, forged, {theft.nb.key.public.keyid: theft.nb.key.public}).predicate.node
        == theft.nb.tag
    )


def test_the_chain_of_a_node_s_receipts(theft: Theft) -> None:
    def chain() -> dict[str, Any]:
        return dict(theft.http.get("/v1/chains/vm").json())

    assert chain()["verdict"] == "NOT_FOUND"
    first = theft.vm.deliver(theft.job, exit_code=0)
    theft.coordinator.turn()
    assert chain()["verdict"] == "PASS"
    theft.coordinator.dispatch("r-0002", node="vm")
    theft.vm.breathe()
    theft.vm.deliver(theft.claimed(), exit_code=0, previous=first.digest())
    theft.coordinator.turn()
    assert chain()["verdict"] == "PASS"
    theft.coordinator.dispatch("r-0003", node="vm")
    theft.vm.breathe()
    theft.vm.deliver(theft.claimed(), exit_code=0, previous="f" * 64)
    theft.coordinator.turn()
    told = chain()
    assert told["verdict"] == "BROKEN"
    assert [c["what"] for c in told["checks"] if not c["ok"]] == ["no invented digest"]
    assert theft.http.get("/v1/chains/none").json()["code"] == "node_not_found"
