"""One line of the table for each reason to refuse a job, and for each reason not to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.attempt.accept import (
    Accept,
    AcceptView,
    AlreadyAccepted,
    Ceiling,
    Hold,
    Opened,
    Refuse,
    judge_held,
    judge_job,
    open_job,
)
from node_agent.attempt.records import JournalRecord, PendingStop
from node_agent.wire.failure import JobRefusal
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job
from node_agent.wire.model import FleetTime
from node_agent.wire.policy import Safety
from node_agent.wire.signing import Envelope
from tests.unit.node_agent.stage import COORDINATOR, FLEET, STRANGER, TAG, identity, job_of

KEYS = {COORDINATOR.public.keyid: COORDINATOR.public}
NOW = FleetTime(epoch=3, ms=10_000)
HELD = PendingStop("because", 3, 0, 5)


def job(**changes: Any) -> Job:
    base = {"epoch": 3, "start_by": NOW, "identity": identity(lease=4)}
    return job_of(**{**base, **changes})


def opened(value: Job) -> Opened:
    found = open_job(value.signed(COORDINATOR).model_dump_json().encode(), KEYS)
    assert isinstance(found, Opened)
    return found


VIEW = AcceptView(
    fleet=FLEET,
    node=TAG,
    now=NOW,
    epoch_seen=3,
    known=None,
    top_lease=4,
    stop=None,
    tombstone=None,
    draining=False,
    revoked=False,
    free_slots=1,
    runtimes=frozenset({"scripted"}),
    unlogged=frozenset({"opencode"}),
    ceiling=Ceiling(),
)


def entry(digest: str, mark: Mark = Mark.SPAWNED) -> JournalRecord:
    return JournalRecord(identity(lease=4), digest, 3, mark, {}, 0)


def test_accepts() -> None:
    assert judge_job(opened(job()), VIEW) == Accept()


def test_holds_what_goes_ahead_and_what_finds_no_slot() -> None:
    assert judge_job(opened(job(ahead=True)), VIEW) == Hold()
    assert judge_job(opened(job()), replace(VIEW, free_slots=0)) == Hold()


def test_begins_what_is_held_when_a_slot_is_free_whatever_the_time() -> None:
    held = job(ahead=True, start_by=FleetTime(epoch=1, ms=1), epoch=1)
    assert judge_held(held, replace(VIEW, now=None)) == Accept()
    assert (
        judge_held(held, replace(VIEW, free_slots=0))
        == judge_held(held, replace(VIEW, disk_ok=False))
        == Hold()
    )
    for state in (replace(VIEW, draining=True), replace(VIEW, revoked=True)):
        refused = judge_held(held, state)
        assert isinstance(refused, Refuse) and refused.why is JobRefusal.TAKEN_BACK
    missing = judge_held(held, replace(VIEW, runtimes=frozenset()))
    assert isinstance(missing, Refuse) and missing.why is JobRefusal.RUNTIME_MISSING


@pytest.mark.parametrize(
    ("job_changes", "view_changes", "why"),
    [
        ({}, {"revoked": True}, JobRefusal.REVOKED),
        ({"epoch": 2}, {}, JobRefusal.OLD_EPOCH),
        ({}, {"stop": HELD}, JobRefusal.STOPPED),
        ({}, {"tombstone": HELD}, JobRefusal.TOMBSTONED),
        ({}, {"top_lease": 5}, JobRefusal.OLD_LEASE),
        ({}, {"now": None}, JobRefusal.NO_FLEET_TIME),
        ({"epoch": 4}, {}, JobRefusal.NO_FLEET_TIME),
        ({"start_by": FleetTime(epoch=3, ms=9_999)}, {}, JobRefusal.TOO_LATE),
        ({"start_by": FleetTime(epoch=2, ms=99_999)}, {}, JobRefusal.TOO_LATE),
        ({}, {"draining": True}, JobRefusal.DRAINING),
        ({}, {"free_slots": 0, "may_hold": False}, JobRefusal.NO_SLOT),
        ({"ahead": True}, {"may_hold": False}, JobRefusal.NO_SLOT),
        ({}, {"disk_ok": False}, JobRefusal.DISK_FULL),
        ({"runtime": "claude"}, {}, JobRefusal.RUNTIME_MISSING),
        ({"runtime": "opencode"}, {}, JobRefusal.RUNTIME_MISSING),
        ({"safety": Safety.FULL_AUTO}, {"ceiling": Ceiling(safety=Safety.AUTO_EDIT)}, JobRefusal.CEILING),
        ({}, {"ceiling": Ceiling(repositories=("repo-2",))}, JobRefusal.CEILING),
        ({}, {"ceiling": Ceiling(runtimes=("shell",))}, JobRefusal.CEILING),
        ({}, {"ceiling": Ceiling(closed="unreadable")}, JobRefusal.CEILING),
    ],
)
def test_refuses(job_changes: dict[str, Any], view_changes: dict[str, Any], why: JobRefusal) -> None:
    verdict = judge_job(opened(job(**job_changes)), replace(VIEW, **view_changes))
    assert isinstance(verdict, Refuse)
    assert (verdict.why, verdict.identity) == (why, identity(lease=4))
    assert verdict.detail


def test_at_an_endpoint_nobody_has_to_log_in() -> None:
    assert judge_job(opened(job(runtime="opencode", endpoint="ollama")), VIEW) == Accept()


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"fleet": "f-other"}, JobRefusal.WRONG_FLEET), ({"node": "0" * 10}, JobRefusal.WRONG_NODE)],
)
def test_not_for_us_is_answered_to_nobody(changes: dict[str, Any], why: JobRefusal) -> None:
    verdict = judge_job(opened(job(**changes)), VIEW)
    assert isinstance(verdict, Refuse) and (verdict.why, verdict.identity) == (why, None)


def test_the_same_bytes_again_are_known_whatever_else_holds() -> None:
    mine = opened(job())
    bad = replace(VIEW, known=entry(mine.digest), now=None, epoch_seen=9, revoked=True, free_slots=0)
    assert judge_job(mine, bad) == AlreadyAccepted(Mark.SPAWNED)


def test_other_bytes_for_a_lease_are_a_conflict() -> None:
    verdict = judge_job(opened(job(task="something else")), replace(VIEW, known=entry(opened(job()).digest)))
    assert isinstance(verdict, Refuse) and verdict.why is JobRefusal.LEASE_CONFLICT


def test_a_tombstone_spares_later_leases() -> None:
    assert judge_job(opened(job()), replace(VIEW, tombstone=replace(HELD, lease=3))) == Accept()


def test_the_very_moment_of_start_by_is_in_time() -> None:
    assert judge_job(opened(job(start_by=NOW)), VIEW) == Accept()


def test_forged_altered_and_broken_envelopes() -> None:
    good = job().signed(COORDINATOR)
    altered = job(task="rm").signed(COORDINATOR).payload
    envelopes = [
        job().signed(STRANGER).model_dump_json(),
        good.model_copy(update={"payload": altered}).model_dump_json(),
        good.model_copy(update={"signatures": ()}).model_dump_json(),
        Envelope(payloadType="x", payload=good.payload, signatures=good.signatures).model_dump_json(),
        "{}",
        "nonsense",
        "",
    ]
    for text in envelopes:
        found = open_job(text.encode(), KEYS)
        assert isinstance(found, Refuse), text
        assert (found.why, found.identity) == (JobRefusal.BAD_ENVELOPE, None), text


def test_a_stranger_beside_the_coordinator_changes_nothing() -> None:
    both = STRANGER.countersign(job().signed(COORDINATOR))
    found = open_job(both.model_dump_json().encode(), KEYS)
    assert isinstance(found, Opened) and found.digest == job().signed(COORDINATOR).digest()
