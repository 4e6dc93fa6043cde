"""Receipts that settle nothing: a node has its share of them in a day, and above it is named and out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job
from pancode.kernel.quota import ForeignReceipts, too_much_evidence
from pancode.kernel.records import Audit, StoredReceipt
from pancode.runs.nodes import quota
from tests.unit.pancode.runs.world import Desk, Fleet

SHARE = ForeignReceipts(20, 60_000)
DAY_MS = 86_400_000


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet(Desk())
    made.coordinator.core.rules = replace(made.coordinator.core.rules, evidence=SHARE)
    return made


def orphan(fleet: Fleet, due: Job, number: int, **changes: Any) -> None:
    identity = AttemptId(run=f"r-no{number:04d}", attempt=1, lease=1)
    fleet.bad.deliver(due, identity=identity, **changes)


def kept(fleet: Fleet) -> list[StoredReceipt]:
    return [r for r in fleet.coordinator.rows(StoredReceipt) if r.tag == fleet.bad.tag]


def test_orphans_without_number(fleet: Fleet) -> None:
    due = fleet.taken()
    for number in range(60):
        orphan(fleet, due, number)
    fleet.coordinator.turn()
    assert len(kept(fleet)) == SHARE.receipts and "21 receipts" in (fleet.quarantined() or "")
    assert [a.detail["node"] for a in fleet.alarms() if a.what == "node quarantined"] == ["bad"]
    fleet.still_works()


def test_orphans_of_many_bytes(fleet: Fleet) -> None:
    due = fleet.taken()
    for number in range(SHARE.receipts):
        orphan(fleet, due, number, answer="x" * 4_000)
    fleet.coordinator.turn()
    assert 1 <= len(kept(fleet)) < SHARE.receipts and "nodes.evidence_size" in (fleet.quarantined() or "")
    fleet.still_works()


def test_other_receipts_of_a_settled_lease_without_number(fleet: Fleet) -> None:
    due = fleet.taken()
    fleet.bad.carry_out(due)
    for number in range(60):
        fleet.bad.deliver(due, reason=f"exit {number}")
    fleet.coordinator.turn()
    assert len(kept(fleet)) == SHARE.receipts + 1 and fleet.quarantined() is not None
    fleet.still_works()


def test_receipts_whose_bytes_never_come_without_number(fleet: Fleet) -> None:
    due = fleet.taken()
    fleet.bad.start(due)
    for number in range(60):
        fleet.bad.deliver(due, commit="b" * 40, change="change", reason=f"exit {number}")
    fleet.coordinator.turn()
    assert fleet.quarantined() is not None
    assert len(fleet.coordinator.core.live.answers.requests) == SHARE.receipts
    fleet.still_works()


def test_the_same_one_again_costs_nothing(fleet: Fleet) -> None:
    said = fleet.bad.receipt(fleet.taken(), identity=AttemptId(run="r-none", attempt=1, lease=1))
    for _ in range(60):
        fleet.bad.uplink.send(said.model_dump_json())
        fleet.coordinator.turn(6_000)
    assert len(kept(fleet)) == 1 and fleet.quarantined() is None


def test_each_day_has_a_share_of_its_own(fleet: Fleet) -> None:
    due = fleet.taken()
    for day in range(3):
        for number in range(SHARE.receipts - 1):
            orphan(fleet, due, 100 * day + number)
        fleet.coordinator.turn()
        fleet.coordinator.clock.ms += DAY_MS
    assert len(kept(fleet)) == 3 * (SHARE.receipts - 1) and fleet.quarantined() is None


def test_who_is_let_in_again_begins_anew(fleet: Fleet) -> None:
    due = fleet.taken()
    for number in range(60):
        orphan(fleet, due, number)
    fleet.coordinator.turn()
    fleet.coordinator.turn()
    assert quota.release_node(fleet.coordinator.core, "bad", "me")
    quota.let_in(fleet.coordinator.core, fleet.bad.tag, "password")
    fleet.bad.breathe()
    orphan(fleet, due, 99)
    fleet.coordinator.turn()
    assert fleet.quarantined() is None and len(kept(fleet)) == SHARE.receipts + 1


def test_a_disk_that_is_nearly_full_keeps_nothing_that_settles_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = fleet.taken()
    monkeypatch.setattr(fleet.coordinator.archive, "has_room", lambda: False)
    fleet.bad.controls()
    orphan(fleet, due, 1)
    orphan(fleet, due, 2)
    fleet.coordinator.turn()
    assert kept(fleet) == [] and fleet.quarantined() is None
    assert fleet.bad.controls() == [], "it sends them again"
    assert [a.what for a in fleet.coordinator.rows(Audit) if "nearly full" in a.what] == [
        "receipt not stored: the disk is nearly full"
    ]
    fleet.still_works()


def test_in_words() -> None:
    assert too_much_evidence(SHARE, SHARE) == ""
    assert too_much_evidence(ForeignReceipts(21, 3 * 2**20), SHARE) == (
        "the node sent 21 receipts of 3 MiB in a day that settle nothing, and may send 20 of 0 MiB "
        "(nodes.evidence_receipts, nodes.evidence_size)"
    )
