"""The tables are whole: every failure, mark, level and clock has its row."""

from __future__ import annotations

import pytest

from node_agent.wire.clock import ALPHABET, SystemClock, SystemIds
from node_agent.wire.failure import FAILURES, REBINDABLE, FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import FINAL, HOLDS_SLOT, MARKS, Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.policy import ALLOWED, ActionClass, Safety, compile_policy


def test_every_failure_has_its_rule_and_none_is_done() -> None:
    assert set(FAILURES) == set(FailureKind)
    assert all(rule.outcome not in (Outcome.DONE, Outcome.SUPERSEDED) for rule in FAILURES.values())


def test_every_bad_outcome_can_happen() -> None:
    assert {rule.outcome for rule in FAILURES.values()} == set(Outcome) - {Outcome.DONE, Outcome.SUPERSEDED}


def test_what_a_user_or_the_owner_said_is_never_rebound() -> None:
    assert REBINDABLE.isdisjoint(
        {JobRefusal.STOPPED, JobRefusal.TOMBSTONED, JobRefusal.REVOKED, JobRefusal.CEILING}
    )


def test_marks_go_one_way_and_publishing_holds_no_slot() -> None:
    assert set(MARKS) | FINAL == set(Mark)
    last = max(MARKS.index(mark) for mark in HOLDS_SLOT)
    assert MARKS[0] is Mark.HELD and set(MARKS[1 : last + 1]) == HOLDS_SLOT
    assert MARKS[last] is Mark.COMMITTED


def test_levels_only_grow_and_never_reach_the_system() -> None:
    assert ALLOWED[Safety.SUGGEST] < ALLOWED[Safety.AUTO_EDIT] < ALLOWED[Safety.FULL_AUTO]
    never = {ActionClass.GIT_DESTRUCTIVE, ActionClass.SYSTEM, ActionClass.UNKNOWN}
    assert never.isdisjoint(ALLOWED[Safety.FULL_AUTO])


@pytest.mark.parametrize("safety", list(Safety))
def test_a_reader_changes_nothing_at_any_level(safety: Safety) -> None:
    assert set(compile_policy(safety, read_only=True).allowed) == {ActionClass.FILE_READ, ActionClass.NETWORK}


def test_fleet_time_of_an_older_epoch_is_always_past() -> None:
    then = FleetTime(epoch=1, ms=1_000_000)
    assert then.is_past(FleetTime(epoch=2, ms=0))
    assert not then.is_past(then)
    assert then.is_past(then.plus(1))


def test_the_systems_clocks_and_ids() -> None:
    clock, ids = SystemClock(), SystemIds()
    assert clock.boot_ms() >= clock.mono_ms() - 1, "one counts sleep, the other does not"
    assert len(ids.token(4)) == 8
    assert set(ids.short(200)) <= set(ALPHABET)
