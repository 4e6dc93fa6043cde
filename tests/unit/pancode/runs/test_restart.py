"""A coordinator that starts again, what `why` tells, and what Redis shows in the end."""

from __future__ import annotations

import pytest

from node_agent.wire.control import Drain, SetSlots
from node_agent.wire.event import Refused
from node_agent.wire.failure import JobRefusal
from node_agent.wire.keys import job_id
from pancode.budget import books
from pancode.config.fleet_settings import pause_queue
from pancode.fleet import inventory
from pancode.kernel.records import Audit, Balance, Decision, Run, Setting
from pancode.runs.reconcile import RESERVATIONS_REPAIRED
from pancode.runs.unit_of_work import unit_of_work
from tests.fakes.store import JobState
from tests.unit.pancode.runs.world import Desk, Puppet, offered


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def test_every_decision_is_told(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.deliver(job)
    coordinator.turn()
    kinds = [d.kind for d in coordinator.rows(Decision, run="r-0001")]
    assert kinds == ["gate", "placement", "settle"]


def test_no_phantom_stays_in_redis(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    for number in (1, 2):
        coordinator.dispatch(f"r-000{number}")
    coordinator.turn()
    first, second = node.claim(), node.claim()
    assert first is not None and second is not None
    node.deliver(first)
    node.say(second.identity, Refused(why=JobRefusal.STOPPED, detail="x"))
    coordinator.turn()
    jobs = {
        name: coordinator.redis.job(job_id(node.tag, o.identity)) for name, o in (("a", first), ("b", second))
    }
    states = {name: job.state for name, job in jobs.items() if job is not None}
    assert states == {"a": JobState.FINISHED, "b": JobState.FAILED}


def test_pauses_and_priority_outlive_the_coordinator(coordinator: Desk) -> None:
    first, second = Puppet(coordinator, "n1", slots=1), Puppet(coordinator, "n2", slots=1)
    pause_queue(coordinator.core, None, "moving house", "ana")
    pause_queue(coordinator.core, "any", "bad prompt", "ben")
    inventory.pause(coordinator.core, "n2", "its fan", "eve")
    coordinator.dispatch("r-late", node="n1")
    coordinator.dispatch("r-soon", node="n1", priority=7)
    coordinator.dispatch("r-pool")
    coordinator.dispatch("r-hurt", node="n2", priority=9)
    coordinator.restart()
    breathe(first, second)
    reasons = {run.id: run.reason for run in coordinator.rows(Run)}
    assert set(reasons.values()) == {"the fleet is paused: moving house"}
    pause_queue(coordinator.core, None, None, "ana")
    coordinator.restart()
    breathe(first, second)
    job = first.take()
    assert job.identity.run == "r-soon", "the higher priority, not the older run"
    assert second.claim() is None
    reasons = {run.id: run.reason for run in coordinator.rows(Run)}
    assert reasons["r-pool"] == "queue any is paused: bad prompt"
    assert reasons["r-hurt"] == "n2 is paused: its fan"
    said = [(a.what, a.detail["by"]) for a in coordinator.rows(Audit, domain="fleet") if a.detail.get("by")]
    told = [("setting paused", "ana"), ("setting pause:any", "ben"), ("node paused", "eve")]
    assert said == [*told, ("setting paused", "ana")]


def test_a_node_hears_its_settings_from_each_coordinator_that_starts(coordinator: Desk) -> None:
    node = Puppet(coordinator, "n1", slots=2)
    inventory.drain(coordinator.core, "n1", "update", "ana")
    breathe(node)
    node.controls()
    coordinator.restart()
    breathe(node)
    told = [one.body for one in node.controls() if isinstance(one.body, SetSlots | Drain)]
    assert told == [SetSlots(slots=2), Drain(on=True, reason="update")]


def breathe(*nodes: Puppet) -> None:
    for node in nodes:
        node.session = f"{node.session}+"
        node.breathe()
        node.breathe()


@pytest.mark.parametrize("has_ended", [True, False])
def test_what_an_ended_run_still_holds_is_released_once_at_the_next_start(
    coordinator: Desk, has_ended: bool
) -> None:
    """As earlier versions left it where a node gave a job back."""
    node, job = offered(coordinator)
    if has_ended:
        node.deliver(job)
    coordinator.turn()
    core, account = coordinator.core, books.Account("r-0001", 1, 1)
    forgotten = books.reserve_amount(["node:n9"], account, books.Amount(ms=600_000), core.stamp())
    with unit_of_work(core) as work:
        work.tx.delete(Setting, RESERVATIONS_REPAIRED)
        work.book(forgotten)
    coordinator.restart()
    coordinator.turn()
    assert coordinator.row(Balance, "node:n9").reserved_ms == (0 if has_ended else 600_000)
    told = [one for one in coordinator.rows(Audit) if one.what == "reservation of an ended run released"]
    assert [(one.run, one.detail["scope"]) for one in told] == [("r-0001", "node:n9")] * has_ended
