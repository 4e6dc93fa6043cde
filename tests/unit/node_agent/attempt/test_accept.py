"""One line of the table for each reason to refuse an order, and for each reason not to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.attempt.accept import (
    Accept,
    AcceptView,
    AlreadyAccepted,
    Ceiling,
    Hold,
    Opened,
    Refuse,
    judge_held,
    judge_order,
    open_order,
)
from node_agent.attempt.records import JournalRecord, PendingStop
from node_agent.wire.failure import OrderRefusal
from node_agent.wire.identity import Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.order import Order
from node_agent.wire.policy import Safety
from node_agent.wire.signing import Envelope
from tests.unit.node_agent.stage import COORDINATOR, FLEET, STRANGER, TAG, identity, order_of

KEYS = {COORDINATOR.public.keyid: COORDINATOR.public}
NOW = FleetTime(epoch=3, ms=10_000)
HELD = PendingStop("because", 3, 0, 5)


def order(**changes: Any) -> Order:
    base = {"epoch": 3, "start_by": NOW, "identity": identity(lease=4)}
    return order_of(**{**base, **changes})


def opened(value: Order) -> Opened:
    found = open_order(value.signed(COORDINATOR).model_dump_json().encode(), KEYS)
    assert isinstance(found, Opened)
    return found


VIEW = AcceptView(
    fleet=FLEET,
    node=TAG,
    now=NOW,
    epoch_seen=3,
    known=None,
    top_lease=4,
    stop=None,
    tombstone=None,
    draining=False,
    revoked=False,
    free_slots=1,
    runtimes=frozenset({"scripted"}),
    unlogged=frozenset({"opencode"}),
    ceiling=Ceiling(),
)


def entry(digest: str, mark: Mark = Mark.SPAWNED) -> JournalRecord:
    return JournalRecord(identity(lease=4), digest, 3, mark, {}, 0)


def test_accepts() -> None:
    assert judge_order(opened(order()), VIEW) == Accept()


def test_holds_what_goes_ahead_and_what_finds_no_slot() -> None:
    assert judge_order(opened(order(ahead=True)), VIEW) == Hold()
    assert judge_order(opened(order()), replace(VIEW, free_slots=0)) == Hold()


def test_begins_what_is_held_when_a_slot_is_free_whatever_the_time() -> None:
    held = order(ahead=True, start_by=FleetTime(epoch=1, ms=1), epoch=1)
    assert judge_held(held, replace(VIEW, now=None)) == Accept()
    assert (
        judge_held(held, replace(VIEW, free_slots=0))
        == judge_held(held, replace(VIEW, disk_ok=False))
        == Hold()
    )
    for state in (replace(VIEW, draining=True), replace(VIEW, revoked=True)):
        refused = judge_held(held, state)
        assert isinstance(refused, Refuse) and refused.why is OrderRefusal.TAKEN_BACK
    missing = judge_held(held, replace(VIEW, runtimes=frozenset()))
    assert isinstance(missing, Refuse) and missing.why is OrderRefusal.RUNTIME_MISSING


@pytest.mark.parametrize(
    ("order_changes", "view_changes", "why"),
    [
        ({}, {"revoked": True}, OrderRefusal.REVOKED),
        ({"epoch": 2}, {}, OrderRefusal.OLD_EPOCH),
        ({}, {"stop": HELD}, OrderRefusal.STOPPED),
        ({}, {"tombstone": HELD}, OrderRefusal.TOMBSTONED),
        ({}, {"top_lease": 5}, OrderRefusal.OLD_LEASE),
        ({}, {"now": None}, OrderRefusal.NO_FLEET_TIME),
        ({"epoch": 4}, {}, OrderRefusal.NO_FLEET_TIME),
        ({"start_by": FleetTime(epoch=3, ms=9_999)}, {}, OrderRefusal.TOO_LATE),
        ({"start_by": FleetTime(epoch=2, ms=99_999)}, {}, OrderRefusal.TOO_LATE),
        ({}, {"draining": True}, OrderRefusal.DRAINING),
        ({}, {"free_slots": 0, "may_hold": False}, OrderRefusal.NO_SLOT),
        ({"ahead": True}, {"may_hold": False}, OrderRefusal.NO_SLOT),
        ({}, {"disk_ok": False}, OrderRefusal.DISK_FULL),
        ({"runtime": "claude"}, {}, OrderRefusal.RUNTIME_MISSING),
        ({"runtime": "opencode"}, {}, OrderRefusal.RUNTIME_MISSING),
        ({"safety": Safety.FULL_AUTO}, {"ceiling": Ceiling(safety=Safety.AUTO_EDIT)}, OrderRefusal.CEILING),
        ({}, {"ceiling": Ceiling(repositories=("repo-2",))}, OrderRefusal.CEILING),
        ({}, {"ceiling": Ceiling(runtimes=("shell",))}, OrderRefusal.CEILING),
        ({}, {"ceiling": Ceiling(closed="unreadable")}, OrderRefusal.CEILING),
    ],
)
def test_refuses(order_changes: dict[str, Any], view_changes: dict[str, Any], why: OrderRefusal) -> None:
    verdict = judge_order(opened(order(**order_changes)), replace(VIEW, **view_changes))
    assert isinstance(verdict, Refuse)
    assert (verdict.why, verdict.identity) == (why, identity(lease=4))
    assert verdict.detail


def test_at_an_endpoint_nobody_has_to_log_in() -> None:
    assert judge_order(opened(order(runtime="opencode", endpoint="ollama")), VIEW) == Accept()


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"fleet": "f-other"}, OrderRefusal.WRONG_FLEET), ({"node": "0" * 10}, OrderRefusal.WRONG_NODE)],
)
def test_not_for_us_is_answered_to_nobody(changes: dict[str, Any], why: OrderRefusal) -> None:
    verdict = judge_order(opened(order(**changes)), VIEW)
    assert isinstance(verdict, Refuse) and (verdict.why, verdict.identity) == (why, None)


def test_the_same_bytes_again_are_known_whatever_else_holds() -> None:
    mine = opened(order())
    bad = replace(VIEW, known=entry(mine.digest), now=None, epoch_seen=9, revoked=True, free_slots=0)
    assert judge_order(mine, bad) == AlreadyAccepted(Mark.SPAWNED)


def test_other_bytes_for_a_lease_are_a_conflict() -> None:
    verdict = judge_order(
        opened(order(task="something else")), replace(VIEW, known=entry(opened(order()).digest))
    )
    assert isinstance(verdict, Refuse) and verdict.why is OrderRefusal.LEASE_CONFLICT


def test_a_tombstone_spares_later_leases() -> None:
    assert judge_order(opened(order()), replace(VIEW, tombstone=replace(HELD, lease=3))) == Accept()


def test_the_very_moment_of_start_by_is_in_time() -> None:
    assert judge_order(opened(order(start_by=NOW)), VIEW) == Accept()


def test_forged_altered_and_broken_envelopes() -> None:
    good = order().signed(COORDINATOR)
    altered = order(task="rm").signed(COORDINATOR).payload
    envelopes = [
        order().signed(STRANGER).model_dump_json(),
        good.model_copy(update={"payload": altered}).model_dump_json(),
        good.model_copy(update={"signatures": ()}).model_dump_json(),
        Envelope(payloadType="x", payload=good.payload, signatures=good.signatures).model_dump_json(),
        "{}",
        "nonsense",
        "",
    ]
    for text in envelopes:
        found = open_order(text.encode(), KEYS)
        assert isinstance(found, Refuse), text
        assert (found.why, found.identity) == (OrderRefusal.BAD_ENVELOPE, None), text


def test_a_stranger_beside_the_coordinator_changes_nothing() -> None:
    both = STRANGER.countersign(order().signed(COORDINATOR))
    found = open_order(both.model_dump_json().encode(), KEYS)
    assert isinstance(found, Opened) and found.digest == order().signed(COORDINATOR).digest()
