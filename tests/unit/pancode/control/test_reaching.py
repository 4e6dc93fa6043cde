"""A node is given up for the time in which it could have been heard; not while nobody tried to reach it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node_agent.wire.failure import Outcome
from pancode.control.query import fleet as query_fleet
from pancode.domain.fleet import Gap, NodeState, Reaching, awake_since
from pancode.domain.records import Node, Run
from tests.unit.pancode.control.world import Desk, Puppet

MINUTE_MS = 60_000


@pytest.fixture
def desk() -> Desk:
    return Desk()


def working(desk: Desk, name: str = "n1") -> Puppet:
    """A node on which a run has started."""
    node = Puppet(desk, name)
    node.breathe()
    desk.dispatch(run=f"r-00{name}", node=name)
    desk.turn()
    order = node.claim()
    assert order is not None
    node.start(order)
    desk.turn()
    return node


def wait(desk: Desk, minutes: int) -> None:
    for _ in range(minutes * 6):
        desk.turn(10_000)


def state(desk: Desk, name: str = "n1") -> NodeState:
    return desk.plane.view(name).state


def outcome(desk: Desk, name: str = "n1") -> Outcome | None:
    found: Outcome | None = desk.row(Run, f"r-00{name}").outcome
    return found


def shown(desk: Desk) -> tuple[str, list[dict[str, object]]]:
    """State and problems of the one node, but for its clock, which stands still here."""
    (node,) = query_fleet.fleet(desk.plane.core, query_fleet.Since(), {})["nodes"]
    return node["state"], [p for p in node["problems"] if "clock" not in str(p["what"])]


def stop_link(desk: Desk) -> None:
    desk.plane.put_link("n1", trying=False, why="the host key of n1 has changed", fix="pancode node trust n1")


def halt(desk: Desk) -> None:
    desk.plane.put_halted("n1", True)


@pytest.mark.parametrize("idle", [stop_link, halt])
def test_nothing_is_lost_by_time_while_nobody_tries_to_reach_it(
    desk: Desk, idle: Callable[[Desk], None]
) -> None:
    working(desk)
    working(desk, "n2")
    wait(desk, 10)
    idle(desk)
    wait(desk, 120)
    assert outcome(desk) is None, "it could not have been heard"
    assert outcome(desk, "n2") is Outcome.LOST and state(desk, "n2") is NodeState.LOST
    desk.plane.put_link("n1", trying=True)
    desk.plane.put_halted("n1", False)
    assert state(desk) is NodeState.UNREACHABLE
    wait(desk, 4)
    assert outcome(desk) is None, "ten minutes and four are not fifteen"
    wait(desk, 2)
    assert outcome(desk) is Outcome.LOST and state(desk) is NodeState.LOST
    desk.check_books()


def test_a_stopped_link_says_so_and_binds_nothing(desk: Desk) -> None:
    working(desk)
    stop_link(desk)
    wait(desk, 1)
    desk.dispatch(run="r-0002", node="n1")
    wait(desk, 60)
    assert state(desk) is NodeState.UNREACHABLE
    assert desk.row(Run, "r-0002").reason == "n1 is unreachable"
    assert shown(desk) == (
        "unreachable",
        [{"what": "n1 is unreachable: the host key of n1 has changed", "fix": "pancode node trust n1"}],
    )


def test_a_halted_node_is_halted_and_no_alarm(desk: Desk) -> None:
    node = working(desk)
    halt(desk)
    assert state(desk) is NodeState.HALTED
    node.breathe()
    desk.dispatch(run="r-0002", node="n1")
    desk.turn()
    assert state(desk) is NodeState.HALTED and not desk.plane.view("n1").asks, "also while it is still heard"
    wait(desk, 60)
    assert state(desk) is NodeState.HALTED and outcome(desk) is None
    assert shown(desk) == ("halted", [])
    assert desk.row(Run, "r-0002").reason == "n1 is halted (pancode fleet up n1)"
    desk.plane.put_halted("n1", False)
    node.breathe()
    desk.turn()
    assert state(desk) is NodeState.ONLINE and node.claim() is not None


def test_what_is_removed_or_new_is_never_shown_as_halted(desk: Desk) -> None:
    working(desk)
    halt(desk)
    desk.plane.revoke("n1")
    assert state(desk) is NodeState.NOT_CLEANED
    desk.plane.add_node(Node("n3", 0, {}, {}, 1))
    desk.plane.put_halted("n3", True)
    assert state(desk, "n3") is NodeState.NEW


def test_time_that_is_missing_for_two_reasons_is_missing_once() -> None:
    gaps = [Gap(50, 20), Gap(10, 20), Gap(20, 20), Gap(55, 5), Gap(95, 50)]
    assert awake_since(0, 100, gaps) == 10 + 10 + 25
    assert awake_since(15, 60, gaps) == 10
    assert awake_since(110, 130, gaps) == 0 and awake_since(0, 100, []) == 100


def test_edges_make_gaps_and_old_ones_are_forgotten() -> None:
    day, up = 86_400_000, Reaching()
    stopped = up.became(replace(up, trying=False), 100)
    both = stopped.became(replace(stopped, halted=True), 150)
    assert both.gaps(200) == (Gap(100, 100),), "one gap, for whichever reason"
    halted = both.became(replace(both, trying=True), 250)
    over = halted.became(replace(halted, halted=False), 300)
    assert (over.gaps(900), over.idle) == ((Gap(100, 200),), False)
    again = over.became(replace(over, trying=False), 2 * day)
    assert again.became(replace(again, trying=True), 2 * day + 5).past == (Gap(2 * day, 5),)
