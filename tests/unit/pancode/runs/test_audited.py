"""The audit holds the work: starts, ends, failures, refusals, stops, landings and answers of each run."""

from __future__ import annotations

import pytest

from node_agent.wire.event import Finding, Refused
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.receipt import UserQuestion
from pancode.kernel.records import Audit, EventKind, FeedEvent
from pancode.reports import timeline
from pancode.reports.timeline import AuditFilter
from pancode.runs.stop import stop_run
from tests.unit.pancode.runs.world import Desk, Puppet, failed, offered


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def told(coordinator: Desk, run: str) -> list[tuple[str, str, str]]:
    return [(one.domain, one.level, one.what) for one in coordinator.rows(Audit, run=run)]


def test_a_run_that_goes_well(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.start(job)
    coordinator.turn()
    envelope = node.deliver(job)
    coordinator.turn()
    assert told(coordinator, job.identity.run) == [
        ("dispatch", "info", "queued"),
        ("dispatch", "info", "started"),
        ("dispatch", "info", "ended: done"),
    ]
    queued, started, ended = coordinator.rows(Audit, run=job.identity.run)
    assert queued.detail["by"] == "test" and queued.detail["safety"] == "auto-edit"
    assert started.detail == {"node": "n1", "attempt": 1}
    assert (ended.detail["node"], ended.detail["receipt"]) == ("n1", envelope.digest())
    assert timeline.audit_verdict(coordinator.core)["verdict"] == "PASS"
    kinds = [row.data.get("what") for row in coordinator.rows(FeedEvent) if row.kind is EventKind.AUDIT]
    assert "queued" not in kinds, "the feed has run.queued"


def test_a_run_that_is_only_told_its_rules_is_a_warning(coordinator: Desk) -> None:
    run = coordinator.dispatch(read_only=True)
    (queued,) = coordinator.rows(Audit, run=run.id)
    assert (queued.level, queued.detail["held"]) == ("warning", "told only")


def test_a_failure_and_another_attempt(coordinator: Desk) -> None:
    coordinator.dispatch(max_attempts=2)
    node = Puppet(coordinator)
    node.breathe()
    job = node.take()
    node.start(job)
    node.say(job.identity, Finding(level="warning", text="it asked for a listener"))
    node.deliver(
        job, findings=("it asked for a listener",), **failed(FailureKind.AGENT_FAILED, Outcome.ERROR)
    )
    coordinator.turn()
    coordinator.turn(60_000)
    node.breathe()
    again = node.take()
    node.deliver(
        again,
        findings=("x" * 900, "b", "c", "d"),
        **failed(FailureKind.RULE_BROKEN, Outcome.POLICY_VIOLATION),
    )
    coordinator.turn()
    run = job.identity.run
    assert [what for _, _, what in told(coordinator, run)] == [
        "queued",
        "started",
        "finding",
        "tried again",
        "ended: policy_violation",
    ]
    found, retried, ended = coordinator.rows(Audit, run=run)[2:]
    assert found.detail == {"node": "n1", "attempt": 1, "finding": "it asked for a listener"}
    assert (retried.level, retried.detail["failure"], retried.detail["attempt"]) == (
        "warning",
        "agent_failed",
        2,
    )
    assert (ended.level, ended.detail["failure"]) == ("error", "rule_broken")
    assert len(ended.detail["findings"]) <= 300
    errors = timeline.list_audit(coordinator.core, AuditFilter("error"), 10, None).rows
    assert [one["run"] for one in errors] == [run]


def test_a_refusal_by_the_node_and_a_stop(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.say(job.identity, Refused(why=JobRefusal.CEILING, detail="its owner allows no writing"))
    coordinator.turn()
    stop_run(coordinator.core, job.identity.run, "stopped by ann")
    refused, asked, ended = coordinator.rows(Audit, run=job.identity.run)[1:]
    assert (refused.level, refused.what, refused.detail["node"]) == ("warning", "refused by its node", "n1")
    assert "allows no writing" in refused.detail["why"]
    assert (asked.what, asked.detail["why"]) == ("stop requested", "stopped by ann")
    assert (ended.level, ended.what) == ("warning", "ended: interrupted")


def test_a_run_that_is_lost_and_heard_of_after_all(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.start(job)
    for _ in range(100):
        coordinator.turn(10_000)
    assert told(coordinator, job.identity.run)[2:] == [
        ("dispatch", "warning", "lost on its node"),
        ("dispatch", "error", "ended: lost"),
    ]
    node.deliver(job)
    coordinator.turn()
    assert told(coordinator, job.identity.run)[-1] == ("dispatch", "info", "ended: done")


def test_a_question_to_a_user(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    node.start(job)
    asks = failed(FailureKind.NEEDS_USER, Outcome.BLOCKED)
    node.deliver(job, question=UserQuestion(question="blue or green?"), **asks)
    coordinator.turn()
    asked, ended = coordinator.rows(Audit, run=job.identity.run)[2:]
    assert (asked.domain, asked.what, asked.detail["words"]) == (
        "people",
        "waiting for a user",
        "blue or green?",
    )
    assert (ended.level, ended.what) == ("warning", "ended: blocked")


def test_the_chain_stays_whole_over_many_runs_in_one_transaction(coordinator: Desk) -> None:
    for number in range(30):
        coordinator.dispatch(f"r-{number:04}", usd="0.01")
    verdict = timeline.audit_verdict(coordinator.core)
    assert verdict["verdict"] == "PASS" and verdict["anchored"] >= 20
