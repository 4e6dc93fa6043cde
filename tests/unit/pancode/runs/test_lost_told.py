"""What is said of a lost run: running only if it was heard of since, and whether a stop was confirmed."""

from __future__ import annotations

import pytest

from node_agent.wire.event import Revoked
from node_agent.wire.failure import Outcome
from node_agent.wire.job import Job
from pancode.runs import views as query
from pancode.runs.stop import stop_run
from tests.unit.pancode.runs.world import Desk, Puppet


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def lost(coordinator: Desk, node: Puppet, run: str = "r-0001") -> Job:
    """Its node names it in its last heartbeat, and is then silent for the whole deadline."""
    node.breathe()
    coordinator.dispatch(run, node=node.name)
    coordinator.turn()
    job = node.take()
    node.start(job)
    node.open = [job.identity]
    node.breathe()
    silence(coordinator)
    assert query.get_run_shape(coordinator.core, run)["outcome"] == Outcome.LOST
    return job


def silence(coordinator: Desk) -> None:
    for _ in range(100):
        coordinator.turn(10_000)


def notes(coordinator: Desk) -> list[str]:
    return query.get_run_shape(coordinator.core, "r-0001")["notes"]


def test_the_last_word_before_the_silence_says_nothing_of_now(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    lost(coordinator, node)
    assert notes(coordinator) == []
    coordinator.restart()
    coordinator.turn()
    assert notes(coordinator) == [], (
        "nor does it in the next life of the coordinator, which finds it in Redis"
    )
    node.breathe()
    assert notes(coordinator) == ["lost, still running on n1"]


def test_what_has_ended_meanwhile_is_not_said_to_run(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    job = lost(coordinator, node)
    node.breathe()
    assert notes(coordinator) == ["lost, still running on n1"]
    node.open = []
    node.breathe()
    assert notes(coordinator) == []
    node.deliver(job)
    coordinator.turn()
    assert query.get_run_shape(coordinator.core, "r-0001")["outcome"] == Outcome.DONE


def test_a_stop_of_a_lost_run_says_that_nobody_has_confirmed_it(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    job = lost(coordinator, node)
    stop_run(coordinator.core, "r-0001", "enough")
    assert notes(coordinator) == ["stop requested, not confirmed by n1"]
    (lease,) = query.get_run_detail(coordinator.core, "r-0001")["fences"]
    assert lease["stop"] == "asked"
    node.breathe()
    assert notes(coordinator) == ["lost, still running on n1", "stop requested, not confirmed by n1"]
    node.open = []
    node.say(job.identity, Revoked(reason="enough"))
    node.breathe()
    assert notes(coordinator) == []
    assert query.get_run_shape(coordinator.core, "r-0001")["outcome"] == Outcome.LOST


def test_of_a_run_that_goes_on_the_lost_attempt_is_told_too(coordinator: Desk) -> None:
    first, second = Puppet(coordinator, "n1", slots=4), Puppet(coordinator, "n2", slots=1)
    first.breathe()
    coordinator.dispatch(read_only=True, told_only=True)
    coordinator.turn()
    job = first.take()
    first.start(job)
    first.open = [job.identity]
    silence(coordinator)
    second.breathe()
    again = second.take()
    second.start(again)
    first.breathe()
    second.breathe()
    assert notes(coordinator) == ["attempt 1 lost, still running on n1"]
