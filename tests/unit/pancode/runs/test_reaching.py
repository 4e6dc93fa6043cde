"""A node is given up for the time in which it could have been heard; not while nobody tried to reach it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node_agent.wire.failure import Outcome
from pancode.fleet import fleet as query_fleet
from pancode.fleet import inventory
from pancode.fleet.answers import ProblemShape
from pancode.kernel.node import Gap, NodeState, Reaching, awake_since
from pancode.kernel.records import Node, Run
from pancode.runs.nodes.liveness import judge_nodes
from tests.unit.pancode.runs.world import Desk, Puppet


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def working(coordinator: Desk, name: str = "n1") -> Puppet:
    """A node on which a run has started."""
    node = Puppet(coordinator, name)
    node.breathe()
    coordinator.dispatch(run=f"r-00{name}", node=name)
    coordinator.turn()
    job = node.take()
    node.start(job)
    coordinator.turn()
    return node


def wait(coordinator: Desk, minutes: int) -> None:
    for _ in range(minutes * 6):
        coordinator.turn(10_000)


def state(coordinator: Desk, name: str = "n1") -> NodeState:
    return inventory.get_view(coordinator.core, name).state


def outcome(coordinator: Desk, name: str = "n1") -> Outcome | None:
    found: Outcome | None = coordinator.row(Run, f"r-00{name}").outcome
    return found


def shown(coordinator: Desk) -> tuple[str, list[ProblemShape]]:
    """State and problems of the one node, but for its clock, which stands still here."""
    (node,) = query_fleet.list_nodes(coordinator.core)
    return node["state"], [p for p in node["problems"] if "clock" not in p["what"]]


def stop_link(coordinator: Desk) -> None:
    inventory.put_link(
        coordinator.core,
        "n1",
        trying=False,
        why="the host key of n1 has changed",
        fix="pancode node trust n1",
    )


def halt(coordinator: Desk) -> None:
    inventory.put_halted(coordinator.core, "n1", True)


@pytest.mark.parametrize("idle", [stop_link, halt])
def test_nothing_is_lost_by_time_while_nobody_tries_to_reach_it(
    coordinator: Desk, idle: Callable[[Desk], None]
) -> None:
    working(coordinator)
    working(coordinator, "n2")
    wait(coordinator, 10)
    idle(coordinator)
    wait(coordinator, 120)
    assert outcome(coordinator) is None, "it could not have been heard"
    assert outcome(coordinator, "n2") is Outcome.LOST and state(coordinator, "n2") is NodeState.LOST
    inventory.put_link(coordinator.core, "n1", trying=True)
    inventory.put_halted(coordinator.core, "n1", False)
    assert state(coordinator) is NodeState.UNREACHABLE
    wait(coordinator, 4)
    assert outcome(coordinator) is None, "ten minutes and four are not fifteen"
    wait(coordinator, 2)
    assert outcome(coordinator) is Outcome.LOST and state(coordinator) is NodeState.LOST
    coordinator.check_books()


def test_a_stopped_link_says_so_and_binds_nothing(coordinator: Desk) -> None:
    working(coordinator)
    stop_link(coordinator)
    wait(coordinator, 1)
    coordinator.dispatch(run="r-0002", node="n1")
    wait(coordinator, 60)
    assert state(coordinator) is NodeState.UNREACHABLE
    assert coordinator.row(Run, "r-0002").reason == "n1 is unreachable, as it sends no heartbeats"
    assert shown(coordinator) == (
        "unreachable",
        [{"what": "n1 is unreachable: the host key of n1 has changed", "fix": "pancode node trust n1"}],
    )


def test_a_halted_node_is_halted_and_no_alarm(coordinator: Desk) -> None:
    node = working(coordinator)
    halt(coordinator)
    assert state(coordinator) is NodeState.HALTED
    node.breathe()
    coordinator.dispatch(run="r-0002", node="n1")
    coordinator.turn()
    assert (
        state(coordinator) is NodeState.HALTED and not inventory.get_view(coordinator.core, "n1").answers
    ), "also while it is still heard"
    wait(coordinator, 60)
    assert state(coordinator) is NodeState.HALTED and outcome(coordinator) is None
    assert shown(coordinator) == ("halted", [])
    assert coordinator.row(Run, "r-0002").reason == "n1 is halted (pancode fleet up n1)"
    inventory.put_halted(coordinator.core, "n1", False)
    node.breathe()
    coordinator.turn()
    assert state(coordinator) is NodeState.ONLINE and node.claim() is not None


def test_what_is_removed_or_new_is_never_shown_as_halted(coordinator: Desk) -> None:
    working(coordinator)
    halt(coordinator)
    inventory.revoke(coordinator.core, "n1")
    assert state(coordinator) is NodeState.NOT_CLEANED
    inventory.add(coordinator.core, Node("n3", 0, {}, {}, 1))
    inventory.put_halted(coordinator.core, "n3", True)
    assert state(coordinator, "n3") is NodeState.NEW


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


def test_a_coordinator_that_was_frozen_since_its_last_look_gives_nothing_up(coordinator: Desk) -> None:
    """A laptop's lid closes between the look at Redis and the decision."""
    working(coordinator)
    coordinator.clock.ms += 3_600_000
    judge_nodes(coordinator.core)
    assert outcome(coordinator) is None and state(coordinator) is not NodeState.LOST
