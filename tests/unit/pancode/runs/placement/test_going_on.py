"""A run whose provider has turned it away continues with its files and its session when the limit resets."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.node import LoggedIn, RuntimeFact
from node_agent.wire.receipt import Exposed, GateResult, ModelCalls, Usage
from pancode.kernel.records import Decision, Run
from pancode.runs.life.jobs import snapshot_of
from pancode.runs.placement import breaker_service
from pancode.runs.stop import stop_run
from tests.unit.pancode.runs.world import Desk, Puppet, facts, failed

PLACE = {"kind": "git", "repo": "p-demo", "base": None, "snapshot": "a" * 40, "object_format": "sha1"}
LEFT, MORE = "b" * 40, "c" * 40
GATES = ({"name": "g", "argv": ["false"]},)
SESSION = "0b0ff7c0-2222-4444-8888-123456789abc"
LIMITED: dict[str, Any] = {
    **failed(FailureKind.MODEL_BUSY, Outcome.INFRA),
    "calls": ModelCalls(requests=3, failed=1, retry_ms=3_600_000),
    "usage": Usage(input_tokens=1, output_tokens=1, cost_source="unknown"),
}
HAS_LEFT = {"commit": LEFT, "change": "change", "files_changed": ("one.py",), "session": SESSION}


@pytest.fixture
def coordinator() -> Desk:
    desk = Desk()
    desk.depot.commits.update((LEFT, MORE))
    return desk


def turned_away(desk: Desk, node: Puppet, left: dict[str, Any]) -> Job:
    """The job of the attempt that begins once the hour is over."""
    node.breathe()
    desk.dispatch(workspace=PLACE)
    desk.turn()
    job = claimed(node)
    node.deliver(job, **LIMITED, **left, base=None, snapshot="a" * 40)
    desk.turn()
    waits: Run = desk.row(Run, "r-0001")
    assert waits.outcome is None and "limited until" in waits.reason and node.claim() is None
    return after_the_limit(desk, node)


def claimed(node: Puppet) -> Job:
    job = node.take()
    node.start(job)
    return job


def after_the_limit(desk: Desk, *nodes: Puppet) -> Job:
    desk.clock.ms += 3_700_000
    for _ in range(3):
        for node in nodes:
            node.breathe()
    found = [job for node in nodes if (job := node.claim()) is not None]
    assert found, desk.row(Run, "r-0001").reason
    return found[0]


def test_it_begins_with_what_it_had_changed_and_remembers(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    job = turned_away(coordinator, node, HAS_LEFT)
    assert job.identity.attempt == 2 and job.workspace.snapshot == LEFT
    assert job.resume is not None and job.resume.session == SESSION
    assert job.task.startswith("You have begun") and job.task.endswith("true")
    node.carry_out(job, commit=MORE, change="change", files_changed=("two.py",), base=None, snapshot=LEFT)
    ended: Run = coordinator.row(Run, "r-0001")
    result: dict[str, Any] = ended.result
    assert ended.outcome is Outcome.DONE and result["commit"] == MORE
    assert list(result["files_changed"]) == ["one.py", "two.py"]
    assert ended.workspace["snapshot"] == "a" * 40, "the change is counted from where the run began"
    assert [snapshot_of(ended, number) for number in (1, 2)] == ["a" * 40, LEFT]
    told = [row.detail for row in coordinator.rows(Decision, run="r-0001") if row.verdict == "continues"]
    assert told == ["with what attempt 1 left: its change and its session"]
    coordinator.check_books()


def test_what_it_had_changed_is_its_result_where_nothing_more_was_to_do(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    job = turned_away(coordinator, node, HAS_LEFT)
    node.carry_out(job, commit=None, change="empty", base=None, snapshot=LEFT)
    result: dict[str, Any] = coordinator.row(Run, "r-0001").result
    assert (result["commit"], result["change"], list(result["files_changed"])) == (LEFT, "change", ["one.py"])


@pytest.mark.parametrize(
    "left",
    [{}, {**HAS_LEFT, "exposed": (Exposed(secret="TOKEN", file="one.py"),)}],
    ids=["nothing was left", "a secret was left"],
)
def test_it_begins_anew_where(coordinator: Desk, left: dict[str, Any]) -> None:
    job = turned_away(coordinator, Puppet(coordinator), left)
    assert (job.identity.attempt, job.workspace.snapshot, job.resume) == (2, "a" * 40, None)
    assert job.task == "true"


def test_elsewhere_it_has_its_files_and_no_session(coordinator: Desk) -> None:
    first = Puppet(coordinator)
    first.breathe()
    coordinator.dispatch(workspace=PLACE)
    coordinator.turn()
    job = claimed(first)
    first.deliver(job, **LIMITED, **HAS_LEFT, base=None, snapshot="a" * 40)
    coordinator.turn()
    other = Puppet(coordinator, "n2")
    for _ in range(12):  # the first one is away long before the limit resets
        other.breathe()
    again = after_the_limit(coordinator, other)
    assert again.workspace.snapshot == LEFT and again.resume is None


def test_where_its_node_has_both_it_goes_back_to_its_session(coordinator: Desk) -> None:
    other, node = Puppet(coordinator, "n0", slots=8), Puppet(coordinator, "n1")
    node.breathe()
    coordinator.dispatch(workspace=PLACE, require={})
    coordinator.turn()
    job = claimed(node)
    node.deliver(job, **LIMITED, **HAS_LEFT, base=None, snapshot="a" * 40)
    coordinator.turn()
    assert after_the_limit(coordinator, other, node).node == node.tag


def test_a_session_that_its_node_does_not_keep_any_more_costs_no_work(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    job = turned_away(coordinator, node, HAS_LEFT)
    node.start(job)
    gone = failed(FailureKind.CANNOT_START, Outcome.ERROR)
    node.deliver(job, **gone, base=None, snapshot=LEFT)
    coordinator.turn()
    for _ in range(3):
        node.breathe()
    again = node.take()
    assert again.identity.attempt == 3
    assert (again.workspace.snapshot, again.resume) == (LEFT, None)


def test_what_was_left_is_the_result_however_the_run_ends(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(workspace=PLACE)
    coordinator.turn()
    job = claimed(node)
    left = {**HAS_LEFT, "findings": ("the result could not be looked through for secrets",)}
    node.deliver(job, **LIMITED, **left, base=None, snapshot="a" * 40)
    coordinator.turn()
    stop_run(coordinator.core, "r-0001", "enough")
    ended: Run = coordinator.row(Run, "r-0001")
    result: dict[str, Any] = ended.result
    assert (ended.outcome, result["commit"], result["change"]) == (Outcome.INTERRUPTED, LEFT, "change")
    assert list(result["findings"]) == list(left["findings"])


def test_nothing_is_taken_over_from_one_that_was_not_to_write(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(workspace=PLACE, read_only=True)
    coordinator.turn()
    job = claimed(node)
    node.deliver(job, **LIMITED, **HAS_LEFT, base=None, snapshot="a" * 40)
    coordinator.turn()
    again = after_the_limit(coordinator, node)
    assert (again.workspace.snapshot, again.resume) == ("a" * 40, None)


def test_the_session_that_a_user_asked_for_comes_back_when_its_own_is_over(coordinator: Desk) -> None:
    node, before = Puppet(coordinator), {"run": "r-0000", "session": SESSION}
    node.breathe()
    coordinator.dispatch(workspace=PLACE, terms={"resume": before, "verify_retries": 1}, gates=GATES)
    coordinator.turn()
    job = claimed(node)
    node.deliver(job, **LIMITED, **HAS_LEFT, base=None, snapshot="a" * 40)
    coordinator.turn()
    second = after_the_limit(coordinator, node)
    assert second.resume is not None and second.resume.run == "r-0001"
    node.start(second)
    told = GateResult(name="g", argv=("false",), passed=False, exit_code=1, duration_ms=1)
    failed_gate = failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED)
    node.deliver(second, **failed_gate, gates=(told,), base=None, snapshot=LEFT)
    coordinator.turn()
    for _ in range(3):
        node.breathe()
    third = node.take()
    assert third.resume is not None and third.resume.run == "r-0000"


def test_a_limit_of_one_machines_login_holds_up_no_other_machine(coordinator: Desk) -> None:
    node, other = Puppet(coordinator), Puppet(coordinator, "n2")
    for one, login in ((node, LoggedIn.SUBSCRIPTION), (other, LoggedIn.SUBSCRIPTION)):
        one.facts = facts(runtimes=(RuntimeFact(name="claude", state="ok", login=login),))
        one.breathe()
    coordinator.dispatch(workspace=PLACE, node="n1")
    coordinator.turn()
    job = claimed(node)
    node.deliver(job, **LIMITED, base=None, snapshot="a" * 40)
    coordinator.turn()
    names = [one.name for one in breaker_service.read_breakers(coordinator.core) if one.state != "closed"]
    assert names == ["provider:anthropic@n1"]
    coordinator.dispatch("r-0002")
    coordinator.dispatch("r-0003", node="n1")
    coordinator.clock.ms += 1_800_000  # others ask a vendor again after a quarter of an hour
    for _ in range(3):
        node.breathe()
        other.breathe()
    there = other.take()
    assert there.identity.run == "r-0002" and node.claim() is None
    assert "provider:anthropic@n1 is open until" in coordinator.row(Run, "r-0003").reason
    node.facts = facts(runtimes=(RuntimeFact(name="claude", state="ok", login=LoggedIn.KEY),))
    for _ in range(2):
        names = [one.name for one in breaker_service.read_breakers(coordinator.core) if one.state != "closed"]
        assert names == ["provider:anthropic@n1"], (
            "of the login that it was, after a restart, and another login"
        )
        coordinator.restart()
        node.breathe()
    coordinator.turn()
    assert node.claim() is not None, "a key of its own is another login"
