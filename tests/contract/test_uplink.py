"""What a node may expect of its uplink, held against the memory store and real servers alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.kernel.ports import Offer
from tests.contract.bus_worlds import TAGS, WORLDS, BusWorld, open_world

ONE, TWO = TAGS
JOB = AttemptId(run="r-7f3k", attempt=2, lease=5)


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BusWorld]:
    with open_world(request.param, tmp_path) as opened:
        yield opened


def test_a_node_claims_only_its_own(world: BusWorld) -> None:
    world.bus.push_jobs([Offer(TWO, JOB, "for two")])
    assert world.node(ONE).claim() is None
    claim = world.node(TWO).claim()
    assert claim is not None and claim.rq_job == keys.job_id(TWO, JOB)


def test_a_settled_job_is_closed_in_the_registries(world: BusWorld) -> None:
    node = world.node(ONE)
    for lease in (1, 2):
        world.bus.push_jobs([Offer(ONE, AttemptId(run="r-aaaa", attempt=1, lease=lease), "order")])
    good, bad = node.claim(), node.claim()
    assert good is not None and bad is not None
    node.settle_job(good.rq_job, True, "")
    node.settle_job(bad.rq_job, False, "refused: too_late")
    node.settle_job(bad.rq_job, False, "refused: too_late")
    node.settle_job(keys.job_id(ONE, JOB), True, "nobody knows it")
    assert (world.state(good.rq_job), world.state(bad.rq_job)) == ("finished", "failed")
    assert world.state(keys.job_id(ONE, JOB)) is None
    assert [view.started + view.waiting for view in world.bus.queues()] in ([], [()])


def test_a_settled_job_that_was_pushed_again_meanwhile_is_not_claimed(world: BusWorld) -> None:
    node = world.node(ONE)
    world.bus.push_jobs([Offer(ONE, JOB, "order")])
    claim = node.claim()
    assert claim is not None
    world.let_lease_pass()
    world.bus.push_jobs([Offer(ONE, JOB, "order")])
    node.settle_job(claim.rq_job, True, "")
    assert node.claim() is None
    assert [view.started + view.waiting for view in world.bus.queues()] in ([], [()])


def test_a_node_cannot_settle_the_job_of_another(world: BusWorld) -> None:
    world.bus.push_jobs([Offer(TWO, JOB, "order")])
    claim = world.node(TWO).claim()
    assert claim is not None
    with contextlib.suppress(world.link_down):
        world.node(ONE).settle_job(claim.rq_job, False, "sabotage")
    assert world.state(claim.rq_job) == "started"


def test_a_job_comes_with_the_news_when_it_is_asked_for(world: BusWorld) -> None:
    node = world.node(ONE)
    world.bus.set_heartbeats({ONE: "beat"})
    world.bus.send_controls(ONE, [(1, "control")])
    assert node.news("0", True).claimed is None
    world.bus.push_jobs([Offer(ONE, JOB, "order")])
    assert node.news("0").claimed is None
    news = node.news("0", True)
    assert (news.heartbeat, [sent.data for sent in news.controls]) == (b"beat", [b"control"])
    assert (news.claimed.rq_job, news.claimed.envelope) == (keys.job_id(ONE, JOB), b"order")
    assert node.news("0", True).claimed is None and node.claim() is None


def test_controls_come_oldest_first_behind_a_cursor(world: BusWorld) -> None:
    node = world.node(ONE)
    assert node.news("0").controls == []
    for seq in (1, 2, 3):
        world.bus.send_controls(ONE, [(seq, f"control {seq}")])
    world.bus.send_controls(TWO, [(1, "for two")])
    sent = node.news("0").controls
    assert [message.data for message in sent] == [b"control 1", b"control 2", b"control 3"]
    assert [message.data for message in node.news(sent[0].entry).controls] == [b"control 2", b"control 3"]
    assert node.news(sent[-1].entry).controls == []
    world.bus.send_controls(ONE, [(4, "control 4")])
    assert [message.data for message in node.news(sent[-1].entry).controls] == [b"control 4"]


def test_what_is_sent_at_once_arrives_in_order(world: BusWorld) -> None:
    node = world.node(ONE)
    node.send("first", "second", "third")
    node.send("fourth")
    arrived = [message.data for message in world.bus.read_up([ONE], 10, 0)]
    assert arrived == [b"first", b"second", b"third", b"fourth"]


def test_a_cursor_from_before_a_wipe_hides_nothing(world: BusWorld) -> None:
    node = world.node(ONE)
    world.bus.send_controls(ONE, [(1, "control 1")])
    world.wipe()
    world.bus.send_controls(ONE, [(1, "control 1 again")])
    assert [message.data for message in node.news("99999999999999-7").controls] == [b"control 1 again"]


def test_a_stream_of_controls_is_taken_away_and_goes_on(world: BusWorld) -> None:
    node = world.node(ONE)
    world.bus.send_controls(ONE, [(1, "control 1")])
    world.bus.send_controls(TWO, [(1, "for two")])
    (seen,) = node.news("0").controls
    world.bus.drop_controls(ONE)
    world.bus.drop_controls(ONE)
    assert node.news("0").controls == [] and len(world.node(TWO).news("0").controls) == 1
    world.bus.send_controls(ONE, [(2, "control 2")])
    assert [message.data for message in node.news(seen.entry).controls] == [b"control 2"]


def test_a_hint_comes_with_jobs_and_controls_of_ones_own(world: BusWorld) -> None:
    node = world.node(ONE)
    assert node.wait_for_hint(world.settle_ms) in (True, False)  # the first one opens the ear
    while node.wait_for_hint(0):
        pass
    assert node.wait_for_hint(0) is False
    world.bus.push_jobs([Offer(ONE, JOB, "order")])
    assert node.wait_for_hint(world.settle_ms) is True
    assert node.wait_for_hint(0) is False
    world.bus.send_controls(ONE, [(1, "control")])
    assert node.wait_for_hint(world.settle_ms) is True
    world.bus.send_controls(TWO, [(1, "control")])
    world.bus.set_heartbeats({TWO: "beat"})
    assert node.wait_for_hint(0) is False


def test_a_link_that_is_down_says_so_and_comes_back(world: BusWorld) -> None:
    node = world.node(ONE)
    assert node.claim() is None
    world.cut(ONE, True)
    calls = [
        node.claim,
        lambda: node.news("0"),
        lambda: node.send("event"),
        lambda: node.set_heartbeat("heart"),
        lambda: node.settle_job(keys.job_id(ONE, JOB), True, ""),
    ]
    for call in calls:
        with pytest.raises(world.link_down):
            call()
    world.bus.push_jobs([Offer(ONE, JOB, "order")])
    assert node.wait_for_hint(1) is False
    world.cut(ONE, False)
    assert node.claim() is not None
    node.send("event")
    assert [message.data for message in world.bus.read_up([ONE], 10, 0)] == [b"event"]
