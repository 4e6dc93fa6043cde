"""What the coordinator may expect of the bus, held against the memory store and real servers alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from node_agent.wire.packing import read_text
from pancode.kernel.errors import UnavailableError
from pancode.kernel.ports import JobToClose, Offer, Ticket, UpMessage
from pancode.kernel.quota import PASS_MESSAGES, PASS_SIZE
from tests.contract.bus_worlds import TAGS, WORLDS, BusWorld, open_world

ONE, TWO = TAGS


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BusWorld]:
    with open_world(request.param, tmp_path) as opened:
        yield opened


def identity(number: int, lease: int = 1) -> AttemptId:
    return AttemptId(run=f"r-{number:04d}", attempt=1, lease=lease)


def waiting(world: BusWorld, queue: str) -> tuple[str, ...]:
    return next((view.waiting for view in world.bus.queues() if view.name == queue), ())


def started(world: BusWorld, queue: str) -> tuple[str, ...]:
    return next((view.started for view in world.bus.queues() if view.name == queue), ())


def texts(messages: list[UpMessage]) -> list[tuple[str, bytes]]:
    return [(message.tag, message.data) for message in messages]


def test_jobs_come_out_in_the_order_they_were_put_in(world: BusWorld) -> None:
    node = world.node(ONE)
    for number in range(3):
        world.bus.push_jobs([Offer(ONE, identity(number), f"job {number}")])
    assert waiting(world, keys.node_queue(ONE)) == tuple(keys.job_id(ONE, identity(n)) for n in range(3))
    claims = [node.claim() for _ in range(4)]
    assert [claim and claim.envelope for claim in claims] == [b"job 0", b"job 1", b"job 2", None]
    assert waiting(world, keys.node_queue(ONE)) == ()
    assert set(started(world, keys.node_queue(ONE))) == {keys.job_id(ONE, identity(n)) for n in range(3)}


def test_a_job_keeps_every_character(world: BusWorld) -> None:
    envelope = '{"text": "ümläut \\u0000 \n\t \U0001f600 \\" \\\\ %s", "n": 1.50}' + "x" * 70_000
    world.bus.push_jobs([Offer(ONE, identity(1), envelope)])
    claim = world.node(ONE).claim()
    assert claim is not None and claim.envelope == envelope.encode()
    assert claim.rq_job == keys.job_id(ONE, identity(1))


def test_pushing_again_what_is_queued_changes_nothing(world: BusWorld) -> None:
    for _ in range(3):
        world.bus.push_jobs([Offer(ONE, identity(1), "order")])
    node = world.node(ONE)
    assert node.claim() is not None
    assert node.claim() is None


def test_pushing_again_what_was_just_claimed_changes_nothing(world: BusWorld) -> None:
    world.bus.push_jobs([Offer(ONE, identity(1), "order")])
    node = world.node(ONE)
    assert node.claim() is not None
    world.bus.push_jobs([Offer(ONE, identity(1), "order")])
    assert node.claim() is None
    assert started(world, keys.node_queue(ONE)) == (keys.job_id(ONE, identity(1)),)


def test_a_claim_that_came_to_nothing_can_be_pushed_again_later(world: BusWorld) -> None:
    world.bus.push_jobs([Offer(ONE, identity(1), "order")])
    assert world.node(ONE).claim() is not None  # and that process dies before its journal knows
    world.let_lease_pass()
    world.bus.push_jobs([Offer(ONE, identity(1), "order")])
    again = world.node(ONE).claim()
    assert again is not None and again.envelope == b"order"
    assert started(world, keys.node_queue(ONE)) == (again.rq_job,)


def test_a_wiped_store_takes_the_same_job_again(world: BusWorld) -> None:
    world.bus.push_jobs([Offer(ONE, identity(1), "job 1")])
    world.bus.push_jobs([Offer(ONE, identity(2), "job 2")])
    node = world.node(ONE)
    assert node.claim() is not None
    world.wipe()
    assert node.claim() is None
    assert world.bus.queues() == []
    world.bus.push_jobs([Offer(ONE, identity(2), "job 2")])
    world.bus.push_jobs([Offer(ONE, identity(1), "job 1")])
    claims = [node.claim(), node.claim(), node.claim()]
    assert [claim and claim.envelope for claim in claims] == [b"job 2", b"job 1", None]


def test_a_closed_job_is_nowhere_waiting_or_started(world: BusWorld) -> None:
    for number in (1, 2, 3):
        world.bus.push_jobs([Offer(ONE, identity(number), "order")])
    node = world.node(ONE)
    assert node.claim() is not None
    world.bus.close_jobs([JobToClose(ONE, identity(1), True, "done")])
    world.bus.close_jobs([JobToClose(ONE, identity(2), False, "revoked")])
    world.bus.close_jobs([JobToClose(ONE, identity(9), True, "never heard of")])
    assert started(world, keys.node_queue(ONE)) == ()
    assert waiting(world, keys.node_queue(ONE)) == (keys.job_id(ONE, identity(3)),)
    assert world.state(keys.job_id(ONE, identity(1))) == "finished"
    assert world.state(keys.job_id(ONE, identity(2))) == "failed"
    assert world.state(keys.job_id(ONE, identity(9))) is None
    third = node.claim()
    assert third is not None and third.rq_job == keys.job_id(ONE, identity(3))


def test_closing_twice_is_harmless_and_the_last_word_holds(world: BusWorld) -> None:
    world.bus.push_jobs([Offer(ONE, identity(1), "order")])
    world.node(ONE).claim()
    world.bus.close_jobs([JobToClose(ONE, identity(1), True, "")])
    world.bus.close_jobs([JobToClose(ONE, identity(1), True, "")])
    world.bus.close_jobs([JobToClose(ONE, identity(1), False, "not after all")])
    assert world.state(keys.job_id(ONE, identity(1))) == "failed"


def test_tickets_show_exactly_what_was_said_last(world: BusWorld) -> None:
    def ticket(queue: str, number: int) -> Ticket:
        return Ticket(queue, f"r-{number:04d}", 1, 'say "hi" \n ü', "coder", number)

    gpu, any_ = keys.pool_queue("gpu"), keys.pool_queue("any")
    world.bus.push_jobs([Offer(ONE, identity(7), "order")])
    world.bus.show_tickets([ticket(any_, 3), ticket(gpu, 1), ticket(any_, 2)])
    assert waiting(world, any_) == (keys.ticket_id("r-0003", 1), keys.ticket_id("r-0002", 1))
    assert waiting(world, gpu) == (keys.ticket_id("r-0001", 1),)
    assert world.state(keys.ticket_id("r-0001", 1)) == "queued"
    world.bus.show_tickets([ticket(any_, 2), ticket(any_, 4), ticket(any_, 3)])
    assert waiting(world, any_) == tuple(keys.ticket_id(f"r-{n:04d}", 1) for n in (2, 4, 3))
    assert [view.name for view in world.bus.queues()] == [keys.node_queue(ONE), any_]
    assert world.state(keys.ticket_id("r-0001", 1)) is None
    world.bus.show_tickets([])
    assert world.state(keys.ticket_id("r-0003", 1)) is None
    assert [view.name for view in world.bus.queues()] == [keys.node_queue(ONE)]
    assert waiting(world, keys.node_queue(ONE)) == (keys.job_id(ONE, identity(7)),)


def test_up_messages_stay_until_they_are_dropped(world: BusWorld) -> None:
    node = world.node(ONE)
    for number in range(5):
        node.send(f"event {number}")
    first = world.bus.read_up([ONE], 2, 0)
    assert texts(first) == [(ONE, b"event 0"), (ONE, b"event 1")]
    assert world.bus.read_up([ONE], 2, 0) == first
    world.bus.drop_up(first)
    world.bus.drop_up(first)
    assert texts(world.bus.read_up([ONE], 10, 0)) == [(ONE, f"event {n}".encode()) for n in (2, 3, 4)]
    world.bus.drop_up(world.bus.read_up([ONE], 10, 0))
    world.bus.drop_up([])
    assert world.bus.read_up([ONE], 10, 0) == []
    assert world.bus.read_up([], 10, 0) == []


def test_a_loud_node_does_not_crowd_out_a_quiet_one(world: BusWorld) -> None:
    loud, quiet = world.node(ONE), world.node(TWO)
    for number in range(50):
        loud.send(f"loud {number}")
    quiet.send("quiet")
    messages = texts(world.bus.read_up([ONE, TWO], 6, 0))
    assert len(messages) == 6
    assert (TWO, b"quiet") in messages
    assert [data for tag, data in messages if tag == ONE] == [f"loud {n}".encode() for n in range(5)]
    world.bus.drop_up(world.bus.read_up([TWO], 6, 0))
    assert len(world.bus.read_up([ONE, TWO], 40, 0)) == 40


def test_a_read_takes_no_more_than_its_share_of_one_node(world: BusWorld) -> None:
    loud, quiet = world.node(ONE), world.node(TWO)
    sizes = [1, PASS_SIZE // 2, PASS_SIZE // 2, 1, PASS_SIZE, 2, 3]
    for size in sizes:
        loud.send("x" * size)
    quiet.send("quiet")
    for share in (sizes[:3], sizes[3:5], sizes[5:]):
        messages = world.bus.read_up([ONE, TWO], 500, 0)
        assert [len(m.data) for m in messages if m.tag == ONE] == share
        assert (TWO, b"quiet") in texts(messages)
        world.bus.drop_up([message for message in messages if message.tag == ONE])
    for number in range(PASS_MESSAGES + 1):
        loud.send(str(number))
    messages = world.bus.read_up([ONE, TWO], 500, 0)
    assert [int(m.data) for m in messages if m.tag == ONE] == list(range(PASS_MESSAGES))


def test_a_node_reads_its_beat_and_the_coordinator_its_heartbeat(world: BusWorld) -> None:
    node = world.node(ONE)
    assert node.news("0").heartbeat is None and world.bus.heartbeats([ONE]) == {}
    world.bus.set_heartbeats({ONE: "heartbeat 1"})
    world.bus.set_heartbeats({ONE: "heartbeat 2"})
    assert world.bus.read_profile(ONE) == b""
    node.set_heartbeat("heart 1", "facts")
    node.set_heartbeat("heart 2")
    assert world.bus.read_profile(ONE) == b"facts" and world.bus.read_profile(TWO) == b""
    assert node.news("0").heartbeat == b"heartbeat 2", "only a node that packs can unpack"
    assert read(world.bus.heartbeats([ONE])[ONE]) == b"heart 2"
    world.bus.set_heartbeats({ONE: "heartbeat 3", TWO: "heartbeat 3"})
    assert read(node.news("0").heartbeat) == world.node(TWO).news("0").heartbeat == b"heartbeat 3"
    assert world.bus.heartbeats([TWO]) == {}


def read(data: bytes | None) -> bytes:
    """The text of a heartbeat, which is packed in Redis."""
    assert data is not None
    return read_text(data, 1_000)


def test_an_expelled_node_is_out_and_leaves_nothing(world: BusWorld) -> None:
    node, other = world.node(ONE), world.node(TWO)
    world.bus.push_jobs([Offer(ONE, identity(1), "order")])
    world.bus.push_jobs([Offer(ONE, identity(2), "order")])
    world.bus.push_jobs([Offer(TWO, identity(3), "order")])
    node.claim()
    node.send("event")
    node.set_heartbeat("heart", "facts")
    world.bus.set_heartbeats({ONE: "beat"})
    world.bus.expel_node(ONE)
    with pytest.raises(world.link_down):
        node.claim()
    assert world.bus.heartbeats([ONE]) == {} and world.bus.read_profile(ONE) == b""
    assert world.bus.read_up([ONE], 10, 0) == []
    assert [view.name for view in world.bus.queues()] == [keys.node_queue(TWO)]
    assert other.claim() is not None
    world.bus.expel_node(ONE)
    back = world.node(ONE)
    assert back.claim() is None and back.news("0").heartbeat is None


def test_nothing_works_and_nothing_hangs_while_redis_is_away(world: BusWorld) -> None:
    world.node(ONE)
    world.set_down(True)
    calls = [
        lambda: world.bus.push_jobs([Offer(ONE, identity(1), "order")]),
        lambda: world.bus.close_jobs([JobToClose(ONE, identity(1), True, "")]),
        lambda: world.bus.show_tickets([]),
        lambda: world.bus.send_controls(ONE, [(1, "control")]),
        lambda: world.bus.set_heartbeats({ONE: "beat"}),
        lambda: world.bus.heartbeats([ONE]).get(ONE),
        lambda: world.bus.read_up([ONE], 10, 50),
        lambda: world.bus.drop_up([UpMessage(ONE, "1-1", b"")]),
        lambda: world.bus.queues(),
        lambda: world.bus.admit_node(ONE, "x"),
        lambda: world.bus.expel_node(ONE),
    ]
    for call in calls:
        with pytest.raises(UnavailableError) as caught:
            call()
        assert str(caught.value) and caught.value.why and caught.value.fix
    world.set_down(False)
    world.bus.push_jobs([Offer(ONE, identity(1), "order")])
    assert world.node(ONE).claim() is not None


def test_what_a_node_keeps_is_weighed_and_gone_when_it_is_expelled(world: BusWorld) -> None:
    loud, quiet = world.node(ONE), world.node(TWO)
    for _ in range(20):
        loud.send("x" * 10_000)
    loud.set_heartbeat("heart")
    quiet.send("x")
    kept = world.bus.weigh()
    assert 200_000 <= kept[ONE].size < 600_000 and kept[ONE].keys >= 2
    assert kept[TWO].size < 100_000 and world.bus.used() >= 200_000
    world.bus.expel_node(ONE)
    assert ONE not in world.bus.weigh()
