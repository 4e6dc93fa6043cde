"""A node that floods with lawful messages is slowed by itself and named; the others are not slowed."""

from __future__ import annotations

import pytest

from node_agent.wire.event import Event, Events, Finding
from node_agent.wire.job import Job
from pancode.fleet import fleet as query_fleet
from pancode.kernel.quota import CALM_MS, FLOOD_MS, PASS_MESSAGES, PASS_SIZE
from pancode.kernel.records import Lease, Node, Run, RunState
from tests.unit.pancode.runs.world import FLEET, Desk, Puppet

LETTERS, PASS_MS = 3_900, 500


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def at_work(coordinator: Desk, name: str, run: str) -> tuple[Puppet, Job]:
    node = Puppet(coordinator, name)
    node.breathe()
    coordinator.dispatch(run, node=name)
    coordinator.turn()
    job = node.take()
    node.start(job)
    coordinator.turn()
    return node, job


def flood(node: Puppet, job: Job, messages: int, each: int = 40, letters: int = LETTERS) -> None:
    """Lawful events, each with its number."""
    body = Finding(level="info", text="y" * letters)
    for _ in range(messages):
        first = node.events[str(job.identity)] + 1
        node.events[str(job.identity)] += each
        said = [Event(identity=job.identity, seq=n, wall_ms=1, body=body) for n in range(first, first + each)]
        told = Events(fleet=FLEET, node=node.tag, events=tuple(said))
        node.uplink.send(told.signed(node.key).model_dump_json())


def waiting(coordinator: Desk, node: Puppet) -> list[bytes]:
    return [data for _, data in coordinator.redis.store.up.get(node.tag, ())]


def problems(coordinator: Desk, node: Puppet) -> list[str]:
    """Of those in `fleet status`, but for a puppet's silence and version."""
    core = coordinator.core
    found = query_fleet.get_node(core, node.name)["problems"]
    return [one["what"] for one in found if "too much" in one["what"]]


def test_what_is_behind_a_flood_is_settled_in_the_same_round(coordinator: Desk) -> None:
    bad, its = at_work(coordinator, "bad", "r-0001")
    good, job = at_work(coordinator, "good", "r-0002")
    flood(bad, its, 10)
    before = waiting(coordinator, bad)
    assert len(before[0]) > PASS_SIZE
    good.deliver(job)
    coordinator.turn(PASS_MS)
    assert coordinator.row(Run, "r-0002").state is RunState.ENDED
    assert waiting(coordinator, bad) == before[1:], "one round has taken its share of it, in order"


def test_nothing_of_a_flood_is_lost_and_its_receipt_comes_last(coordinator: Desk) -> None:
    bad, its = at_work(coordinator, "bad", "r-0001")
    flood(bad, its, 5)
    last = bad.events[str(its.identity)]
    bad.deliver(its)
    for _ in range(5):
        assert coordinator.row(Run, "r-0001").state is RunState.RUNNING
        coordinator.turn(PASS_MS)
    assert coordinator.row(Lease, "r-0001", 1).cursor == last
    coordinator.turn(PASS_MS)
    assert coordinator.row(Run, "r-0001").state is RunState.ENDED and not waiting(coordinator, bad)


def test_many_small_messages_wait_too(coordinator: Desk) -> None:
    bad, its = at_work(coordinator, "bad", "r-0001")
    flood(bad, its, PASS_MESSAGES + 6, each=1, letters=1)
    coordinator.turn(PASS_MS)
    assert len(waiting(coordinator, bad)) == 6


def test_who_floods_for_some_time_is_named_until_it_is_over(coordinator: Desk) -> None:
    bad, its = at_work(coordinator, "bad", "r-0001")
    good, job = at_work(coordinator, "good", "r-0002")
    for _ in range(FLOOD_MS // PASS_MS):
        flood(bad, its, 1)
        flood(good, job, 1, each=1)
        coordinator.turn(PASS_MS)
        assert not problems(coordinator, bad)
    for _ in range(2):
        flood(bad, its, 1)
        coordinator.turn(PASS_MS)
    (named,) = problems(coordinator, bad)
    assert named.startswith("bad has sent too much for 10 seconds") and not problems(coordinator, good)
    assert coordinator.row(Node, "bad").quarantined is None
    coordinator.turn(CALM_MS + 1)
    assert not problems(coordinator, bad)
