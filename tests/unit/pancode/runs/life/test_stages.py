"""Where a run is and what holds it up are values; nothing is read out of words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.identity import MARKS, Mark
from pancode.interfaces.cli.follow import _stage
from pancode.kernel.records import Closed, Lease, LeaseState, Run, RunState, WaitReason
from pancode.runs.life.case import RunStage, stage_of
from pancode.runs.life.conversation import NEXT
from pancode.runs.lists import Filter
from pancode.runs.views import status_of
from tests.unit.pancode.kernel.fleets import resolved

RUN: Run = resolved(runtime="shell", task="make").run("r-1", 1, "t", {})
LEASE = Lease("r-1", 1, 1, "n1", "tag", "{}", "0", 1, 1, bound_ms=1)


def seen(state: RunState, lease: LeaseState | None, mark: str = "") -> RunStage:
    found = None if lease is None else replace(LEASE, state=lease, mark=mark)
    return stage_of(replace(RUN, state=state), found)


def test_the_stage_of_a_run() -> None:
    assert seen(RunState.PENDING, None) is RunStage.WAITING
    assert seen(RunState.PENDING, LeaseState.OFFERED) is RunStage.PLACED
    assert seen(RunState.PENDING, LeaseState.CLOSED, Mark.ACCEPTED) is RunStage.WAITING
    assert seen(RunState.INTERRUPTING, LeaseState.RUNNING, Mark.SPAWNED) is RunStage.STOPPING
    assert seen(RunState.ENDED, LeaseState.CLOSED) is RunStage.ENDED
    by_mark = [seen(RunState.RUNNING, LeaseState.RUNNING, mark) for mark in MARKS]
    assert by_mark == [
        RunStage.PLACED,
        *(RunStage.PREPARING, RunStage.PREPARING, RunStage.RUNNING, RunStage.VERIFYING, RunStage.VERIFYING),
        *(RunStage.DELIVERING for _ in MARKS[6:]),
    ]


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"stage": "running", "reason": "spawned on n1"}, "on n1: working"),
        ({"stage": "placed", "waits": WaitReason.QUARANTINED, "reason": "offered to n1, which is"}, None),
        ({"stage": "delivering", "waits": WaitReason.DEPOT, "reason": "the disk is full"}, None),
        ({"stage": "waiting", "waits": WaitReason.NO_SLOT, "reason": "spawned nodes are busy"}, None),
        ({"stage": "stopping", "reason": "stop requested, not confirmed: x"}, None),
    ],
)
def test_a_user_reads_the_stage_or_what_holds_it_up(shape: dict[str, Any], told: str | None) -> None:
    whole: Any = {"attempt": 1, "notes": [], "node": "n1", "state": "x", "waits": None, **shape}
    assert _stage(whole) == (told or f"{'waits: ' if 'waits' in shape else ''}{shape['reason']}")


@pytest.mark.parametrize(
    ("about", "status"),
    [
        ({"outcome": Outcome.VERIFY_FAILED}, "gate_failed"),
        ({"outcome": Outcome.INTERRUPTED}, "stopped"),
        ({"outcome": Outcome.BLOCKED}, "asks_you"),
        ({"outcome": Outcome.BLOCKED, "result": {NEXT: ["r-2"]}}, "answered"),
        ({"outcome": Outcome.DONE}, "done"),
        ({"outcome": Outcome.DONE, "result": {"change": "no_change"}}, "no_change"),
        ({"outcome": Outcome.DONE, "result": {"change": "change", "commit": "c"}}, "to_land"),
        ({"outcome": Outcome.DONE, "result": {"change": "change", "commit": "c", NEXT: ["r-2"]}}, "done"),
        ({"outcome": Outcome.DONE, "result": {"commit": "c"}, "landing": {"status": "denied"}}, "done"),
        ({"outcome": Outcome.DONE, "result": {"commit": "c"}, "workflow": "w-1"}, "done"),
        ({"outcome": Outcome.DONE, "landed": "main"}, "landed"),
        ({"outcome": Outcome.TIMEOUT}, "timeout"),
    ],
)
def test_every_interface_has_one_word_for_the_end_of_a_run(about: dict[str, Any], status: str) -> None:
    run = replace(RUN, state=RunState.ENDED, **about)
    assert status_of(run, RunStage.ENDED, is_unheard=False) == status


def test_a_run_at_work_has_its_stage_unless_its_node_is_not_heard() -> None:
    run = replace(RUN, state=RunState.RUNNING)
    assert status_of(run, RunStage.VERIFYING, is_unheard=False) == "verifying"
    assert status_of(run, RunStage.VERIFYING, is_unheard=True) == "unknown"
    assert status_of(run, RunStage.RUNNING, is_unheard=False, is_idle=True) == "waiting_for_you"
    assert status_of(run, RunStage.STOPPING, is_unheard=False, is_idle=True) == "stopping"
    assert status_of(run, RunStage.RUNNING, is_unheard=True, is_idle=True) == "unknown"


def test_a_closed_lease_of_an_older_attempt_says_nothing() -> None:
    closed = replace(LEASE, state=LeaseState.CLOSED, closed=Closed.LOST, mark=Mark.SPAWNED)
    assert stage_of(replace(RUN, state=RunState.PENDING, attempt=2), closed) is RunStage.WAITING


def test_a_list_is_filtered_by_the_words_that_it_shows() -> None:
    words = {
        "gate failed": "verify_failed",
        "gate_failed": "verify_failed",
        "asks_you": "blocked",
        "done": "done",
    }
    assert {word: Filter.of({"outcome": word}, 0).outcome for word in words} == words
