"""Fleet time comes from a heartbeat that answers our nonce, never runs back, and never runs ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.agent.fleettime import FleetClock, HeartbeatResult, read_coordinator_heartbeat
from node_agent.wire.control import CoordinatorHeartbeat
from node_agent.wire.model import FleetTime
from node_agent.wire.signing import WireRefusal
from tests.unit.node_agent.stage import COORDINATOR, FLEET, STRANGER, TAG

KEYS = {COORDINATOR.public.keyid: COORDINATOR.public}


def beat(
    seq: int, ms: int, answers: str | None = "n1", epoch: int = 1, **changes: str
) -> CoordinatorHeartbeat:
    return CoordinatorHeartbeat(
        fleet=changes.get("fleet", FLEET),
        node=changes.get("node", TAG),
        seq=seq,
        time=FleetTime(epoch=epoch, ms=ms),
        answers=answers,
        cursors={},
        control_floor=0,
    )


def test_no_time_before_the_first_answer() -> None:
    clock = FleetClock(0, "n1")
    assert clock.hear(beat(1, 500, answers=None), 100) == HeartbeatResult(newer=True, epoch=True)
    assert clock.hear(beat(2, 600, answers="old"), 200) == HeartbeatResult(newer=True)
    assert clock.now(200) is None and clock.epoch_seen == 1
    assert clock.hear(beat(3, 700), 300) == HeartbeatResult(newer=True, answered=True)
    assert clock.now(350) == FleetTime(epoch=1, ms=750)


def test_a_delayed_heartbeat_does_not_set_it_back() -> None:
    clock = FleetClock(0, "n1")
    clock.hear(beat(1, 1_000), 100)
    clock.hear(beat(2, 1_100), 5_000)
    assert clock.now(5_000) == FleetTime(epoch=1, ms=5_900)


def test_an_old_heartbeat_is_nothing() -> None:
    clock = FleetClock(0, "n1")
    clock.hear(beat(5, 1_000, epoch=2), 0)
    for old in (beat(5, 9_999, epoch=2), beat(4, 9_999, epoch=2), beat(99, 9_999, epoch=1)):
        assert clock.hear(old, 10) == HeartbeatResult()
    assert clock.now(0) == FleetTime(epoch=2, ms=1_000)


def test_a_new_epoch_needs_its_own_answer() -> None:
    clock = FleetClock(0, "n1")
    clock.hear(beat(9, 1_000), 0)
    assert clock.hear(beat(1, 50, answers=None, epoch=2), 10) == HeartbeatResult(newer=True, epoch=True)
    assert clock.now(10) is None
    assert clock.hear(beat(2, 60, epoch=2), 20) == HeartbeatResult(newer=True, answered=True)
    assert clock.now(20) == FleetTime(epoch=2, ms=60)


def test_an_epoch_believed_before_a_restart_counts() -> None:
    clock = FleetClock(0, "n1")
    clock.believe(7)
    assert clock.hear(beat(1, 1_000, epoch=6), 0) == HeartbeatResult()
    assert clock.now(0) is None


def test_each_nonce_is_answered_once() -> None:
    clock = FleetClock(0, "n1")
    assert clock.hear(beat(1, 0), 0).answered
    assert not clock.hear(beat(2, 1), 1).answered
    clock.renew("n2")
    assert not clock.is_answered and clock.now(1) is not None
    assert clock.hear(beat(3, 2, answers="n2"), 2).answered and clock.is_answered


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=20))
def test_never_back_never_ahead(heartbeats: list[tuple[int, int]]) -> None:
    """(made at, delay): whatever the delays, time only grows and is never later than the coordinator's."""
    arrivals = sorted((made + delay, made) for made, delay in heartbeats)
    clock, last, ahead = FleetClock(0, "n1"), -1, 40_000
    for seq, (arrived, made) in enumerate(arrivals, 1):
        clock.hear(beat(seq, made + ahead), arrived)
        now = clock.now(arrived)
        assert now is not None and last <= now.ms <= arrived + ahead
        last = now.ms


def test_a_heartbeat_must_be_for_us_and_from_the_coordinator() -> None:
    good = beat(1, 1)
    assert (
        read_coordinator_heartbeat(good.signed(COORDINATOR).model_dump_json().encode(), KEYS, FLEET, TAG)
        == good
    )
    bad = [
        good.signed(STRANGER),
        beat(1, 1, fleet="f-other").signed(COORDINATOR),
        beat(1, 1, node="0" * 10).signed(COORDINATOR),
    ]
    for envelope in bad:
        with pytest.raises(WireRefusal):
            read_coordinator_heartbeat(envelope.model_dump_json().encode(), KEYS, FLEET, TAG)
