"""The node agent's log says each stage of a job once, with its identity and how long it took."""

from __future__ import annotations

import logging

import pytest

from node_agent.attempt.journal import Journal, LoggedJournal
from node_agent.attempt.records import Note
from node_agent.attempt.verdict import Fault, fault_to_json
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import Mark
from node_agent.wire.logs import JobLine
from tests.fakes.node import MemoryClock, MemoryShelf
from tests.unit.node_agent.stage import COORDINATOR, job_of


def test_each_stage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    shelf, clock = MemoryShelf(), MemoryClock()

    def opened() -> Journal:
        return LoggedJournal("n1", shelf, lambda one, seq, body: f"event {seq}", clock)

    journal, job = opened(), job_of()
    envelope = job.signed(COORDINATOR)
    fault = {"fault": fault_to_json(Fault(FailureKind.WALL_LIMIT, "the\ntime is over"))}
    with caplog.at_level(logging.INFO, "pancode.orders"):
        accepted = Note(mark=Mark.ACCEPTED, data={"wall": clock.wall_ms()})
        journal.accept(job, envelope.digest(), envelope.model_dump_json(), accepted)
        clock.advance(500)
        journal.write(job.identity, Note(mark=Mark.PREPARED))
        journal.write(job.identity, Note(mark=Mark.SPAWNED))
        journal = opened()
        clock.advance(500)
        passed = ((Mark.EXITED, fault),)
        journal.write(job.identity, Note(mark=Mark.COMMITTED, passed=passed))
        journal.write(job.identity, Note(findings=("a finding",)))
        journal.write(job.identity, Note(mark=Mark.PUSHED))
        journal.seal(job.identity, "{}", "digest", None)
        journal.write(job.identity, Note(mark=Mark.ACKNOWLEDGED))
        journal.write(job.identity, Note(cleaned=True))
    one = job.identity
    told = [vars(record)["order"] for record in caplog.records]
    assert [(line["stage"], line["duration_ms"], line["detail"]) for line in told] == [
        ("accepted", 0, ""),
        ("started", 500, ""),
        ("ended", 1000, "wall_limit"),
        ("delivered", 1000, ""),
        ("settled", 1000, ""),
    ]
    assert {(line["run"], line["attempt"], line["fence"], line["node"]) for line in told} == {
        (one.run, one.attempt, one.lease, "n1")
    }
    assert set(told[0]) == set(JobLine.__slots__)
