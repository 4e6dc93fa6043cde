"""A node that may have forgotten what it answered is told so before it gets work."""

from __future__ import annotations

import pytest

from node_agent.wire.control import Tombstone
from node_agent.wire.event import Refused
from node_agent.wire.failure import JobRefusal
from pancode.runs.unit_of_work import MOST_TIMES
from tests.unit.pancode.runs.world import Desk, Puppet, offered


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def begin_anew(coordinator: Desk, node: Puppet, emptied: bool) -> list[tuple[str, int]]:
    """A new session of its node agent; what it finds beside the answer to its first heartbeat."""
    node.heartbeat()
    coordinator.turn(0)
    node.controls()
    node.heartbeat()
    coordinator.turn(0)
    node.session, node.nonce, node.seq = f"{node.session}+", f"{node.nonce}+", 0
    seen, node.control_seen = node.control_seen, 0 if emptied else node.control_seen
    node.heartbeat()
    node.control_seen = seen
    coordinator.turn(0)
    heartbeat = node.beat()
    assert heartbeat is not None and heartbeat.answers == node.nonce
    return [(c.body.run, c.body.up_to_lease) for c in node.controls() if isinstance(c.body, Tombstone)]


@pytest.mark.parametrize("emptied", [False, True])
def test_what_it_refused(coordinator: Desk, emptied: bool) -> None:
    node, job = offered(coordinator)
    node.say(job.identity, Refused(why=JobRefusal.DISK_FULL, detail="full"))
    coordinator.turn()
    told = [begin_anew(coordinator, node, emptied) for _ in range(MOST_TIMES + 2)]
    assert told == [[("r-0001", 1)]] * MOST_TIMES + [[], []], "as often as is of use, and no more"


def test_what_it_delivered_only_when_its_disk_was_emptied(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.carry_out(job)
    assert begin_anew(coordinator, node, emptied=False) == []
    assert begin_anew(coordinator, node, emptied=True) == [("r-0001", 1)]


def test_nothing_of_what_nobody_could_start_any_more(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.say(job.identity, Refused(why=JobRefusal.DISK_FULL, detail="full"))
    coordinator.turn()
    coordinator.clock.ms += coordinator.rules.start_by_ms
    assert begin_anew(coordinator, node, emptied=True) == []
