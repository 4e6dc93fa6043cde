"""Redis killed, wiped, silent or poisoned, answers lost: nothing is lost for good or done twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from node_agent.attempt.ports import LinkDown
from node_agent.link.bus import RedisUplink, UplinkIntervals
from node_agent.wire import keys
from node_agent.wire.clock import SystemClock
from node_agent.wire.identity import AttemptId
from node_agent.wire.packing import read_text
from pancode.kernel.errors import UnavailableError
from pancode.kernel.ports import Offer
from pancode.queue.queue import RedisBus
from pancode.queue.valkey.access import connect
from pancode.queue.valkey.process import wait_until
from tests.contract.redis_servers import OwnValkey
from tests.crowd import crowded
from tests.integration.redis.conftest import PASSWORD, TAG, Site
from tests.integration.redis.proxies import Link

QUEUE = keys.node_queue(TAG)
CLOCK = SystemClock()


def identity(number: int) -> AttemptId:
    return AttemptId(run=f"r-{number:04d}", attempt=1, lease=1)


@pytest.fixture
def link(valkey_site: Site) -> Iterator[Link]:
    link = Link(valkey_site.server.place)
    yield link
    link.close()


def quick(site: Site, link: Link) -> RedisUplink:
    """A node that gives up on an answer soon."""
    return site.uplink(place=link.place, intervals=UplinkIntervals(answer_s=0.5, ping_s=0.3))


def test_killed_server_comes_back_with_everything(valkey_site: Site) -> None:
    """kill -9 under load: the process dies, the kernel still has what it wrote."""
    site, node = valkey_site, valkey_site.uplink()
    for number in range(50):
        site.bus.push_jobs([Offer(TAG, identity(number), f"job {number}")])
        site.bus.send_controls(TAG, [(number, f"control {number}")])
        node.send(f"event {number}")
    assert node.claim() is not None
    node.set_heartbeat("heart")
    os.kill(site.admin.info("server")["process_id"], signal.SIGKILL)
    assert isinstance(site.server, OwnValkey)
    assert wait_until(CLOCK, int(5_000 * crowded()), lambda: not site.server.valkey.alive())  # type: ignore[attr-defined]
    with pytest.raises(UnavailableError):
        site.bus.queues()
    with pytest.raises(LinkDown):
        node.claim()
    site.server.start()
    site.bus.admit_node(TAG, PASSWORD)
    assert len(site.bus.read_up([TAG], 100, 0)) == 50
    assert len(node.news("0").controls) == 50
    assert read_text(site.bus.heartbeats([TAG])[TAG], 100) == b"heart"
    claims = []
    while claim := node.claim():
        claims.append(claim.envelope)
    assert claims == [f"job {number}".encode() for number in range(1, 50)]


def test_hints_come_back_with_the_server(site: Site) -> None:
    node = site.uplink()
    assert node.wait_for_hint(50) is True
    site.server.stop()
    begun = CLOCK.mono_ms()
    while node.wait_for_hint(100):
        pass
    assert node.wait_for_hint(200) is False and CLOCK.mono_ms() - begun >= 200, "it does not wait"
    site.server.start()
    site.bus.admit_node(TAG, PASSWORD)  # Debian's, as we start it, keeps no users
    assert wait_until(CLOCK, int(10_000 * crowded()), lambda: node.wait_for_hint(100))
    while node.wait_for_hint(100):
        pass
    site.bus.send_controls(TAG, [(1, "control")])
    assert node.wait_for_hint(int(2_000 * crowded())) is True


def test_a_frozen_server_is_said_to_be_so(valkey_site: Site) -> None:
    site, pid = valkey_site, valkey_site.admin.info("server")["process_id"]
    bus = RedisBus(site.server.access, CLOCK, client_factory=lambda access: connect(access, answer_s=0.3))
    site.opened.append(bus)
    bus.push_jobs([Offer(TAG, identity(1), "order")])
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(UnavailableError) as caught:
            bus.set_heartbeats({TAG: "beat"})
        assert str(caught.value) == "Redis does not answer."
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [view.waiting for view in bus.queues()] == [(keys.job_id(TAG, identity(1)),)]


def test_a_wiped_server_is_filled_again(site: Site) -> None:
    node = site.uplink()
    site.bus.push_jobs([Offer(TAG, identity(1), "job 1")])
    claim = node.claim()
    assert claim is not None
    site.admin.flushall()
    node.settle_job(claim.rq_job, True, "")
    node.set_heartbeat("heart")
    node.send("receipt")
    site.bus.set_heartbeats({TAG: "beat"})
    assert read_text(site.bus.heartbeats([TAG])[TAG], 100) == b"heart"
    assert [message.data for message in site.bus.read_up([TAG], 5, 0)] == [b"receipt"]
    assert site.admin.smembers("rq:workers") == {f"rq:worker:{TAG}".encode()}
    assert not list(site.admin.scan_iter(match="rq:job:*")), "a settled job came back to life"


@pytest.mark.parametrize("away", [False, True])
def test_a_lost_claim_is_answered_again(valkey_site: Site, link: Link, away: bool) -> None:
    """Over the next connection; `away`: there is none for a while."""
    site, node = valkey_site, quick(valkey_site, link)
    assert node.claim() is None
    for number in (1, 2):
        site.bus.push_jobs([Offer(TAG, identity(number), f"job {number}")])
    link.lose(b"QUEUED")  # what the step that takes it has said
    if away:
        link.go_silent_for_new_ones()
        with pytest.raises(LinkDown):
            node.claim()
        link.work_again()
    claims = [node.claim(), node.claim(), node.claim()]
    assert link.lost
    assert [claim and claim.envelope for claim in claims] == [b"job 1", b"job 2", None]
    assert site.admin.zcard(f"rq:wip:{QUEUE}") == 2


def test_a_claim_with_the_news_is_not_lost_with_the_question_behind_it(valkey_site: Site, link: Link) -> None:
    """The clock of a server without its data went back: for the whole stream it is asked once more."""
    site, node = valkey_site, quick(valkey_site, link)
    for entry, text in (("4-1", "an older one"), ("5-1", "the newest")):
        site.admin.xadd(keys.down_stream(TAG), {"e": text}, id=entry)
    site.bus.push_jobs([Offer(TAG, identity(1), "order")])
    after = f"{CLOCK.wall_ms() + 60_000}-0"
    link.lose(b"an older one")
    with pytest.raises(LinkDown):
        node.news(after, claim=True)
    told = node.news(after, claim=True)
    assert told.claimed is not None and told.claimed.envelope == b"order"


def test_a_lost_claim_of_a_dead_process_can_be_pushed_again(valkey_site: Site, link: Link) -> None:
    site, node = valkey_site, quick(valkey_site, link)
    assert node.claim() is None
    site.bus.push_jobs([Offer(TAG, identity(1), "order")])
    link.lose(b"QUEUED")
    link.go_silent_for_new_ones()
    with pytest.raises(LinkDown):
        node.claim()
    reborn = site.uplink()
    assert reborn.claim() is None
    site.bus.push_jobs([Offer(TAG, identity(1), "order")])
    assert reborn.claim() is None, "its claim may still be on the way"
    site.impatient_bus().push_jobs([Offer(TAG, identity(1), "order")])
    assert reborn.claim() is not None
    assert site.admin.zcard(f"rq:wip:{QUEUE}") == 1


def test_a_half_open_link_is_noticed_and_replaced(valkey_site: Site, link: Link) -> None:
    site, node = valkey_site, quick(valkey_site, link)
    assert node.wait_for_hint(50) is True
    assert node.claim() is None
    link.go_silent(new_ones_too=True)
    begun = CLOCK.mono_ms()
    with pytest.raises(LinkDown):
        node.claim()
    assert CLOCK.mono_ms() - begun < 5_000 * crowded()
    assert not any(node.wait_for_hint(100) for _ in range(10)), "it hears something on a dead line"
    link.work_again()
    site.bus.push_jobs([Offer(TAG, identity(1), "order")])
    claim = node.claim()
    assert claim is not None and claim.envelope == b"order"
    assert wait_until(CLOCK, int(10_000 * crowded()), lambda: node.wait_for_hint(100)), "it stayed deaf"
    while node.wait_for_hint(100):
        pass
    site.bus.send_controls(TAG, [(1, "control")])
    assert node.wait_for_hint(int(2_000 * crowded())) is True


def test_an_ear_gone_deaf_is_noticed_without_any_command(valkey_site: Site, link: Link) -> None:
    site, node = valkey_site, quick(valkey_site, link)
    assert node.wait_for_hint(50) is True
    link.go_silent()
    begun = CLOCK.mono_ms()
    assert wait_until(CLOCK, int(10_000 * crowded()), lambda: node.wait_for_hint(100)), "it stayed deaf"
    assert CLOCK.mono_ms() - begun >= 300
    while node.wait_for_hint(100):
        pass
    site.bus.send_controls(TAG, [(1, "control")])
    assert node.wait_for_hint(int(2_000 * crowded())) is True


def test_the_link_may_move(valkey_site: Site) -> None:
    """A new generation of the tunnel has another address; for a while there is none."""
    site, places = valkey_site, [Link(valkey_site.server.place) for _ in range(2)]
    where: list[Any] = [places[0].place]
    node = site.uplink()
    node._where = lambda: where[0]
    site.bus.push_jobs([Offer(TAG, identity(1), "job 1")])
    site.bus.push_jobs([Offer(TAG, identity(2), "job 2")])
    assert node.wait_for_hint(100) and node.claim() is not None
    where[0] = None
    places[0].close()
    with pytest.raises(LinkDown):
        node.claim()
    begun = CLOCK.mono_ms()
    assert node.wait_for_hint(60) is False
    assert CLOCK.mono_ms() - begun >= 60
    where[0] = places[1].place
    assert node.wait_for_hint(100) and node.claim() is not None
    places[1].close()


def test_a_claim_whose_answer_was_lost_survives_a_new_link(valkey_site: Site, link: Link) -> None:
    site, other = valkey_site, Link(valkey_site.server.place)
    where = [link.place]
    node = quick(site, link)
    node._where = lambda: where[0]
    assert node.claim() is None
    site.bus.push_jobs([Offer(TAG, identity(1), "order")])
    link.lose(b"QUEUED")
    link.go_silent_for_new_ones()
    with pytest.raises(LinkDown):
        node.claim()
    where[0] = other.place
    claim = node.claim()
    assert link.lost and claim is not None and claim.envelope == b"order"
    other.close()


def test_waiting_for_messages_ends_with_the_first_one(site: Site) -> None:
    node = site.uplink()
    node.send("before")
    site.bus.drop_up(site.bus.read_up([TAG], 5, 0))
    timer = threading.Timer(0.2, lambda: node.send("event"))
    timer.start()
    begun = time.monotonic()
    messages = site.bus.read_up([TAG, "f0e1d2c3b4"], 5, 4_000)
    assert [message.data for message in messages] == [b"event"]
    assert 0.1 < time.monotonic() - begun < 3 * crowded()
    timer.join()
    site.bus.drop_up(messages)
    begun = time.monotonic()
    assert site.bus.read_up([TAG], 5, 150) == []
    assert time.monotonic() - begun < 2 * crowded()


def call(*args: Any, function: str = keys.ENTRY, **options: Any) -> bytes:
    return zlib.compress(json.dumps([function, None, list(args), options]).encode())


POISONS: dict[str, dict[str, Any]] = {
    "a timeout": {"timeout": "abc"},
    "another timeout": {"timeout": "180"},
    "no timeout": {"timeout": None},
    "no data": {"data": None},
    "data that is not compressed": {"data": b"order"},
    "data that is not JSON": {"data": zlib.compress(b"\x80\x05]\x94.")},
    "cut data": {"data": call("order")[:-2]},
    "a bomb": {"data": call("x" * 100_000_000)},
    "deep data": {"data": zlib.compress(b"[" * 500_000)},
    "another function": {"data": call("order", function="os.system")},
    "two arguments": {"data": call("order", "more")},
    "no argument": {"data": call()},
    "a number": {"data": call(7)},
    "an option": {"data": call("order", shell=True)},
}


def test_poison_ends_as_failed_and_the_next_job_comes(site: Site) -> None:
    node = site.uplink()
    for number, fields in enumerate(POISONS.values()):
        site.bus.push_jobs([Offer(TAG, identity(number), "order")])
        for name, value in fields.items():
            job = "rq:job:" + keys.job_id(TAG, identity(number))
            site.admin.hset(job, name, value) if value is not None else site.admin.hdel(job, name)
    site.bus.push_jobs([Offer(TAG, identity(99), "good")])
    claim = node.claim()
    assert claim is not None and claim.envelope == b"good"
    failed = site.admin.zrange(f"rq:failed:{QUEUE}", 0, -1)
    assert sorted(failed) == [keys.job_id(TAG, identity(n)).encode() for n in range(len(POISONS))]
    site.impatient_bus().push_jobs([Offer(TAG, identity(0), "order")])
    healed = node.claim()
    assert healed is not None and healed.envelope == b"order"


def run(claimers: list[threading.Thread], pushers: list[threading.Thread], done: threading.Event) -> None:
    for thread in claimers + pushers:
        thread.start()
    for thread in pushers:
        thread.join(30 * crowded())
    done.set()
    for thread in claimers:
        thread.join(30 * crowded())


def test_each_job_is_claimed_once_by_however_many(site: Site) -> None:
    """Two processes of one node by mistake, each with two threads; the coordinator pushes twice from two."""
    claimed: list[str] = []
    done = threading.Event()

    def claim(uplink: RedisUplink) -> None:
        while (found := uplink.claim()) is not None or not done.is_set():
            if found is not None:
                claimed.append(found.rq_job)

    def push(start: int) -> None:
        for number in range(start, start + 100):
            site.bus.push_jobs([Offer(TAG, identity(number), "order")])
            site.bus.push_jobs([Offer(TAG, identity(number), "order")])

    uplinks = [site.uplink(), site.uplink()]
    claimers = [threading.Thread(target=claim, args=(uplink,)) for uplink in uplinks * 2]
    pushers = [threading.Thread(target=push, args=(start,)) for start in (0, 100)]
    run(claimers, pushers, done)
    assert sorted(claimed) == [keys.job_id(TAG, identity(number)) for number in range(200)]


def test_stray_entries_are_passed_over(site: Site) -> None:
    node, other = site.uplink(), keys.job_id("f0e1d2c3b4", identity(1))
    site.bus.push_jobs([Offer("f0e1d2c3b4", identity(1), "not for us")])
    site.admin.rpush(f"rq:queue:{QUEUE}", "gone", other, f"{TAG}_x:y", "", keys.job_id(TAG, identity(7)))
    site.admin.set("rq:job:" + keys.job_id(TAG, identity(7)), "not a hash")
    site.bus.push_jobs([Offer(TAG, identity(2), "order")])
    claim = node.claim()
    assert claim is not None and claim.envelope == b"order"
    assert node.claim() is None
    assert site.admin.hget(f"rq:job:{other}", "status") == b"queued"


def test_a_strange_message_is_handed_on_to_be_dropped(site: Site) -> None:
    site.uplink()
    site.admin.xadd(keys.up_stream(TAG), {"x": "y"})
    site.admin.xadd(keys.up_stream(TAG), {"e": b"\xff\x00"})
    messages = site.bus.read_up([TAG], 5, 0)
    assert [message.data for message in messages] == [b"", b"\xff\x00"]
    site.bus.drop_up(messages)
    assert site.bus.read_up([TAG], 5, 0) == []


def test_a_flooding_node_fills_its_bound_and_no_more(valkey_site: Site) -> None:
    site, node = valkey_site, valkey_site.uplink()
    site.admin.config_set("maxmemory", "8mb")
    with pytest.raises(LinkDown):
        for _ in range(100):
            node.send("x" * 1_000_000)
    assert site.admin.info("memory")["used_memory"] < 12_000_000
    # What is counted as used swings with the buffers of clients: well below it, the answer is certain.
    site.admin.config_set("maxmemory", "3mb")
    with pytest.raises(UnavailableError) as caught:
        site.bus.set_heartbeats({TAG: "beat"})
    assert "out of memory" in str(caught.value)
    while messages := site.bus.read_up([TAG], 1_000, 0):
        site.bus.drop_up(messages)
    site.bus.set_heartbeats({TAG: "beat"})
    node.send("event")
