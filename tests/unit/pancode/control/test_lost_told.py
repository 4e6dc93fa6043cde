"""What is said of a lost run: running only if it was heard of since, and whether a stop was confirmed."""

from __future__ import annotations

import pytest

from node_agent.wire.event import Revoked
from node_agent.wire.failure import Outcome
from node_agent.wire.order import Order
from pancode.control.query import run as query
from tests.unit.pancode.control.world import Desk, Puppet


@pytest.fixture
def desk() -> Desk:
    return Desk()


def lost(desk: Desk, node: Puppet, run: str = "r-0001") -> Order:
    """Its node names it in its last heartbeat, and is then silent for the whole deadline."""
    node.breathe()
    desk.dispatch(run, node=node.name)
    desk.turn()
    order = node.claim()
    assert order is not None
    node.start(order)
    node.open = [order.identity]
    node.breathe()
    silence(desk)
    assert query.brief(desk.plane.core, run)["outcome"] == Outcome.LOST
    return order


def silence(desk: Desk) -> None:
    for _ in range(100):
        desk.turn(10_000)


def notes(desk: Desk) -> list[str]:
    return query.brief(desk.plane.core, "r-0001")["notes"]


def test_the_last_word_before_the_silence_says_nothing_of_now(desk: Desk) -> None:
    node = Puppet(desk)
    lost(desk, node)
    assert notes(desk) == []
    desk.restart()
    desk.turn()
    assert notes(desk) == [], "nor does it in the next life of the coordinator, which finds it in Redis"
    node.breathe()
    assert notes(desk) == ["lost, still running on n1"]


def test_what_has_ended_meanwhile_is_not_said_to_run(desk: Desk) -> None:
    node = Puppet(desk)
    order = lost(desk, node)
    node.breathe()
    assert notes(desk) == ["lost, still running on n1"]
    node.open = []
    node.breathe()
    assert notes(desk) == []
    node.deliver(order)
    desk.turn()
    assert query.brief(desk.plane.core, "r-0001")["outcome"] == Outcome.DONE


def test_a_stop_of_a_lost_run_says_that_nobody_has_confirmed_it(desk: Desk) -> None:
    node = Puppet(desk)
    order = lost(desk, node)
    desk.plane.stop("r-0001", "enough")
    assert notes(desk) == ["stop asked, not confirmed by n1"]
    (fence,) = query.show(desk.plane.core, "r-0001")["fences"]
    assert fence["stop"] == "asked"
    node.breathe()
    assert notes(desk) == ["lost, still running on n1", "stop asked, not confirmed by n1"]
    node.open = []
    node.say(order.identity, Revoked(reason="enough"))
    node.breathe()
    assert notes(desk) == []
    assert query.brief(desk.plane.core, "r-0001")["outcome"] == Outcome.LOST


def test_of_a_run_that_goes_on_the_lost_attempt_is_told_too(desk: Desk) -> None:
    first, second = Puppet(desk, "n1", slots=4), Puppet(desk, "n2", slots=1)
    first.breathe()
    desk.dispatch(read_only=True, told_only=True)
    desk.turn()
    order = first.claim()
    assert order is not None
    first.start(order)
    first.open = [order.identity]
    silence(desk)
    second.breathe()
    again = second.claim()
    assert again is not None
    second.start(again)
    first.breathe()
    second.breathe()
    assert notes(desk) == ["attempt 1 lost, still running on n1"]
