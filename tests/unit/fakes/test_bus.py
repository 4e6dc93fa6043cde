"""The faults that the memory bus offers to the simulation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node_agent.attempt.ports import Claimed, LinkDown, News, Sent, Uplink
from node_agent.wire.identity import AttemptId
from pancode.kernel.errors import UnavailableError
from pancode.kernel.ports import Bus, Offer
from tests.fakes.bus import DOWN_CAP, Fault, MemoryBus, MemoryLinkDown, MemoryRedis, NodeShapes

TAG = "0a1b2c3d4e"
JOB = AttemptId(run="r-7f3k", attempt=1, lease=1)


def store() -> tuple[MemoryRedis, MemoryBus]:
    redis = MemoryRedis(lambda: 1_000)
    bus = redis.bus()
    bus.admit_node(TAG, "secret")
    return redis, bus


def at(operation: str, moment: Fault) -> Callable[[str, str], Fault | None]:
    return lambda asked, _tag: moment if asked == operation else None


def test_the_memory_bus_is_a_bus() -> None:
    bus: Bus = store()[1]
    assert bus.queues() == []


def test_a_call_lost_on_the_way_did_nothing() -> None:
    redis, bus = store()
    redis.fault = at("push_job", Fault.BEFORE)
    with pytest.raises(UnavailableError):
        bus.push_jobs([Offer(TAG, JOB, "order")])
    redis.fault = None
    assert redis.uplink(TAG).claim() is None


def test_a_call_whose_answer_was_lost_was_done() -> None:
    redis, bus = store()
    redis.fault = at("push_job", Fault.AFTER)
    with pytest.raises(UnavailableError):
        bus.push_jobs([Offer(TAG, JOB, "order")])
    redis.fault = None
    assert redis.uplink(TAG).claim() is not None


def test_a_claim_whose_answer_was_lost_is_answered_by_the_next_one() -> None:
    redis, bus = store()
    bus.push_jobs([Offer(TAG, JOB, "order")])
    node: Uplink = redis.uplink(TAG, NodeShapes(LinkDown, Claimed, Sent, News))
    redis.fault = at("claim", Fault.AFTER)
    with pytest.raises(LinkDown):
        node.claim()
    redis.fault = None
    claim = node.claim()
    assert isinstance(claim, Claimed) and claim.envelope == b"order"
    assert node.claim() is None


def test_another_process_of_the_node_does_not_get_that_claim() -> None:
    redis, bus = store()
    bus.push_jobs([Offer(TAG, JOB, "order")])
    redis.fault = at("claim", Fault.AFTER)
    with pytest.raises(MemoryLinkDown):
        redis.uplink(TAG).claim()
    redis.fault = None
    assert redis.uplink(TAG).claim() is None


def test_messages_can_be_lost_doubled_and_swapped() -> None:
    redis, bus = store()
    kept: list[bytes] = []

    def carry(stream: str, tag: str, data: bytes) -> list[bytes]:
        assert (stream, tag) == ("up", TAG)
        match data:
            case b"lost":
                return []
            case b"doubled":
                return [data, data]
            case b"late":
                kept.append(data)
                return []
        return [data, *kept]

    redis.carry = carry
    node = redis.uplink(TAG)
    for text in ("lost", "doubled", "late", "last"):
        node.send(text)
    got = [message.data for message in bus.read_up([TAG], 10, 0)]
    assert got == [b"doubled", b"doubled", b"last", b"late"]


def test_one_node_can_be_cut_off_alone() -> None:
    redis, bus = store()
    bus.admit_node("f0e1d2c3b4", "secret")
    redis.cut.add(TAG)
    with pytest.raises(MemoryLinkDown):
        redis.uplink(TAG).news("0")
    assert redis.uplink("f0e1d2c3b4").news("0").heartbeat is None
    bus.set_heartbeats({TAG: "beat"})


def test_waiting_is_what_the_simulation_makes_of_it() -> None:
    waited: list[int] = []
    redis = MemoryRedis(lambda: 0, wait=waited.append)
    bus = redis.bus()
    bus.admit_node(TAG, "secret")
    node = redis.uplink(TAG)
    assert bus.read_up([TAG], 1, 250) == []
    assert node.wait_for_hint(100) is False
    redis.wait = lambda _ms: bus.send_controls(TAG, [(1, "control")])
    assert node.wait_for_hint(100) is True
    node.send("event")
    assert len(bus.read_up([TAG], 1, 999)) == 1
    assert waited == [250, 100]


def test_a_full_stream_loses_its_oldest() -> None:
    redis, bus = store()
    for number in range(DOWN_CAP + 3):
        bus.send_controls(TAG, [(number, str(number))])
    sent = redis.uplink(TAG).news("0").controls
    assert len(sent) == DOWN_CAP and sent[0].data == b"3"
