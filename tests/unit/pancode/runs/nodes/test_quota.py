"""A node that fills Redis is shut out of it; what runs there continues, and so do the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.job import Job
from pancode.fleet import fleet as query_fleet
from pancode.fleet import inventory
from pancode.fleet.answers import NodeDetail
from pancode.kernel.errors import RefusedError
from pancode.kernel.node import NodeState
from pancode.kernel.records import Audit, Lease, LeaseState, Node, Run, RunState
from pancode.reports import timeline
from pancode.runs import views as query
from pancode.runs.nodes import quota
from tests.fakes.bus import MemoryLinkDown
from tests.unit.pancode.runs.world import Desk, Fleet

QUOTA = 50_000


@pytest.fixture
def fleet() -> Fleet:
    """With little room for each node."""
    desk = Desk()
    desk.rules = replace(desk.rules, node_quota=QUOTA)
    desk.restart()
    return Fleet(desk)


def running_on_bad(fleet: Fleet, run: str = "r-0001") -> Job:
    due = fleet.taken(run)
    fleet.bad.start(due)
    fleet.coordinator.turn()
    return due


def flood(fleet: Fleet) -> None:
    for _ in range(600):  # more than one round takes in
        fleet.bad.uplink.send("x" * 1_000)
    fleet.coordinator.turn()


def shown(fleet: Fleet) -> NodeDetail:
    return query_fleet.get_node(fleet.coordinator.core, "bad")


def let_in(fleet: Fleet) -> None:
    assert quota.release_node(fleet.coordinator.core, "bad", "me")
    quota.let_in(fleet.coordinator.core, fleet.bad.tag, "password")


def test_a_removed_node_loses_its_redis_user_once_it_owes_no_receipt(fleet: Fleet) -> None:
    """Its cleaning may fail for ever, and needs no Redis."""
    due, core = running_on_bad(fleet), fleet.coordinator.core
    inventory.revoke(core, "bad")
    fleet.coordinator.turn()
    fleet.bad.deliver(due)
    fleet.coordinator.turn()
    assert fleet.coordinator.row(Run, due.identity.run).outcome is Outcome.DONE
    for _ in range(2):
        fleet.coordinator.turn()
        with pytest.raises(MemoryLinkDown):
            fleet.bad.uplink.send("still here")
        fleet.coordinator.restart()


def test_who_keeps_little_is_left_alone(fleet: Fleet) -> None:
    for _ in range(40):
        fleet.bad.uplink.send("x" * 1_000)
    fleet.coordinator.turn()
    assert fleet.quarantined() is None


def test_it_is_shut_out_named_and_on_record(fleet: Fleet) -> None:
    flood(fleet)
    why = fleet.quarantined()
    assert why is not None and "may keep 0 MiB (nodes.redis_quota)" in why
    with pytest.raises(MemoryLinkDown):
        fleet.bad.uplink.send("more")
    assert fleet.coordinator.redis.store.up.get(fleet.bad.tag) is None, "its messages are gone"
    (entry,) = [a for a in fleet.coordinator.rows(Audit) if a.what == "node quarantined"]
    assert (entry.domain, entry.level, entry.detail["node"]) == ("trust", "error", "bad")
    told = shown(fleet)
    assert told["state"] == "quarantined" and told["quarantined"] == why
    assert told["problems"] == [
        {
            "what": f"bad is quarantined: {why}",
            "fix": "check what runs there, then: pancode fleet resume bad",
        }
    ]


def test_the_others_go_on(fleet: Fleet) -> None:
    flood(fleet)
    fleet.coordinator.dispatch("r-good")
    for _ in range(3):
        fleet.good.breathe()
    fleet.good.carry_out()
    assert fleet.coordinator.row(Run, "r-good").outcome is Outcome.DONE


def test_work_for_it_waits_with_the_reason_and_the_command(fleet: Fleet) -> None:
    flood(fleet)
    fleet.coordinator.dispatch("r-0009", node="bad")
    fleet.good.breathe()
    run = fleet.coordinator.row(Run, "r-0009")
    assert run.state is RunState.PENDING and run.reason.startswith("bad is quarantined: the node stored")


def test_a_run_in_flight_says_why_and_is_never_given_up(fleet: Fleet) -> None:
    due = running_on_bad(fleet)
    flood(fleet)
    for _ in range(100):  # a longer turn would be a sleep, which gives nobody up
        fleet.coordinator.turn(10_000)
    run = query.get_run_shape(fleet.coordinator.core, "r-0001")
    assert run["state"] == "running"
    assert "bad is quarantined: the node stored" in run["notes"][0]
    told = timeline.explain_run(fleet.coordinator.core, "r-0001")["decisions"]
    assert any(d["verdict"] == "quarantined" for d in told)
    let_in(fleet)
    fleet.bad.breathe()
    fleet.bad.deliver(due)
    fleet.bad.breathe()
    assert fleet.coordinator.row(Run, "r-0001").outcome is Outcome.DONE, "it delivers when it is let in"
    assert shown(fleet)["state"] == "online"


def test_it_was_heard_until_it_was_shut_out_however_long_we_listen_already(fleet: Fleet) -> None:
    """Its silence begins with the quarantine, which is none of its making, and not with our own start."""
    running_on_bad(fleet)
    lost_ms = fleet.coordinator.rules.deadlines.lost_ms
    for _ in range(lost_ms // 10_000 + 2):
        for node in (fleet.bad, fleet.good):
            node.breathe(inventory=False)
        fleet.coordinator.turn(10_000)
    flood(fleet)
    for _ in range(lost_ms // 10_000 + 2):
        fleet.good.breathe()
        fleet.coordinator.turn(10_000)
    run = fleet.coordinator.row(Run, "r-0001")
    assert (run.state, run.outcome) == (RunState.RUNNING, None), run.reason
    assert shown(fleet)["state"] == NodeState.QUARANTINED.value


def test_a_job_that_was_only_offered_says_so(fleet: Fleet) -> None:
    fleet.coordinator.dispatch("r-0002", node="bad")
    fleet.bad.breathe()
    assert fleet.coordinator.row(Run, "r-0002").reason == "offered to bad"
    flood(fleet)
    assert fleet.coordinator.row(Run, "r-0002").reason.startswith(
        "offered to bad, which is quarantined: the node stored"
    )
    assert [f.state for f in fleet.coordinator.rows(Lease)] == [LeaseState.OFFERED]


def test_nothing_but_a_user_lets_it_in(fleet: Fleet) -> None:
    flood(fleet)
    with pytest.raises(RefusedError) as caught:
        quota.let_in(fleet.coordinator.core, fleet.bad.tag, "password")
    assert caught.value.fix == "pancode fleet resume bad"
    inventory.drain(
        fleet.coordinator.core, "bad", None, "me"
    )  # `fleet resume` without a name does this to every node
    assert fleet.quarantined() is not None
    fleet.coordinator.redis.bus().admit_node(fleet.bad.tag, "password")  # a Redis with an older file of users
    fleet.coordinator.restart()
    fleet.coordinator.turn()
    assert fleet.bad.tag not in fleet.coordinator.redis.admitted
    assert inventory.get_view(fleet.coordinator.core, "bad").state is NodeState.QUARANTINED


def test_who_floods_again_is_shut_out_again(fleet: Fleet) -> None:
    flood(fleet)
    let_in(fleet)
    assert quota.release_node(fleet.coordinator.core, "bad", "me") is False
    flood(fleet)
    assert fleet.quarantined() is not None and fleet.bad.tag not in fleet.coordinator.redis.admitted


def test_one_that_is_let_in_behind_our_back_is_found(fleet: Fleet) -> None:
    flood(fleet)
    fleet.coordinator.redis.bus().admit_node(fleet.bad.tag, "password")
    flood(fleet)
    assert fleet.bad.tag not in fleet.coordinator.redis.admitted


def test_no_jobs_of_ours_are_held_against_it(fleet: Fleet) -> None:
    fleet.coordinator.dispatch("r-0003", node="bad", task="x" * (2 * QUOTA))
    fleet.bad.breathe()
    fleet.coordinator.turn()
    assert fleet.quarantined() is None


@pytest.mark.parametrize("forgotten_before", [True, False])
def test_a_machine_that_was_taken_out_and_added_again_is_not_shut_out(
    fleet: Fleet, forgotten_before: bool
) -> None:
    """With a home of its own again, or with the old one, where the key is the same."""
    flood(fleet)
    inventory.revoke(fleet.coordinator.core, "bad")
    if forgotten_before:
        inventory.forget(fleet.coordinator.core, "bad")
    inventory.add(fleet.coordinator.core, Node("bad", 0, {}, {}, 2))
    inventory.enrol(fleet.coordinator.core, "bad", fleet.bad.key.public.text())
    quota.let_in(fleet.coordinator.core, fleet.bad.tag, "password")
    fleet.breathe()
    assert shown(fleet)["state"] == "online"
    running_on_bad(fleet, "r-0010")
    for _ in range(100):
        fleet.coordinator.turn(10_000)
    assert fleet.coordinator.row(Run, "r-0010").outcome is Outcome.LOST, "its silence counts again"
    fleet.bad.breathe()
    flood(fleet)
    assert fleet.quarantined() is not None and fleet.bad.tag not in fleet.coordinator.redis.admitted
