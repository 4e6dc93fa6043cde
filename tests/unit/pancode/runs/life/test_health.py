"""The health of an agent is decided from its signs of life: each state, at its borders, with its evidence."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Signs
from pancode.kernel.records import Decision
from pancode.kernel.values import replace
from pancode.runs.life.case import RunStage
from pancode.runs.life.health import (
    HEALTH,
    AgentHealth,
    AgentSeen,
    Gravity,
    HealthRules,
    HealthState,
    health_of,
    report_of,
)

MIN, NOW, RULES = 60_000, 10_000_000_000, HealthRules()
WHO = AttemptId(run="r-0001", attempt=1, lease=1)


def seen(told_ms: int = 0, **ages: int) -> AgentSeen:
    return AgentSeen(NOW, RunStage.RUNNING, "n1", signs=Signs(identity=WHO, **ages), told_ms=told_ms)


@pytest.mark.parametrize(
    ("ages", "state", "gravity"),
    [
        ({"output_ms": MIN - 1}, HealthState.WORKING, Gravity.WELL),
        ({"output_ms": MIN}, HealthState.QUIET, Gravity.WELL),
        ({"output_ms": 9 * MIN, "model_ms": MIN - 1}, HealthState.THINKING, Gravity.WELL),
        ({"output_ms": 90 * MIN, "model_ms": MIN - 1}, HealthState.THINKING, Gravity.WELL),
        ({"output_ms": 9 * MIN, "model_ms": MIN}, HealthState.QUIET, Gravity.WELL),
        ({"output_ms": 90 * MIN, "cpu_ms": MIN - 1}, HealthState.COMMAND, Gravity.WELL),
        ({"output_ms": 90 * MIN, "files_ms": MIN - 1}, HealthState.COMMAND, Gravity.WELL),
        ({"output_ms": 15 * MIN - 1}, HealthState.QUIET, Gravity.WELL),
        ({"output_ms": 15 * MIN}, HealthState.QUIET, Gravity.WARNING),
        ({"output_ms": 90 * MIN, "files_ms": 15 * MIN}, HealthState.QUIET, Gravity.WARNING),
        ({"output_ms": 90 * MIN, "cpu_ms": 30 * MIN - 1}, HealthState.QUIET, Gravity.WARNING),
        ({"output_ms": 30 * MIN}, HealthState.STUCK, Gravity.USER),
        ({"output_ms": 30 * MIN - 5, "told_ms": 5}, HealthState.STUCK, Gravity.USER),
        ({"output_ms": 30 * MIN - 5, "told_ms": 4}, HealthState.QUIET, Gravity.WARNING),
        ({"output_ms": 90 * MIN, "pause_ms": 1}, HealthState.LIMITED, Gravity.WELL),
    ],
)
def test_each_state_begins_at_its_border(ages: dict[str, int], state: HealthState, gravity: Gravity) -> None:
    found = health_of(seen(**ages), RULES)
    assert (found.state, found.gravity) == (state, gravity)


def test_the_evidence_is_in_the_words_and_the_newest_sign_is_the_beginning() -> None:
    found = health_of(seen(output_ms=40 * MIN, files_ms=31 * MIN, told_ms=1_000), RULES)
    assert found.why == "no output for 40 min; no CPU use seen; no change of a file for 31 min"
    assert found.since_ms == NOW - 31 * MIN - 1_000
    limited = health_of(seen(output_ms=1, pause_ms=5_000, told_ms=1_000), RULES)
    assert limited.until_ms == NOW + 4_000


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"question": "may I?"}, HealthState.QUESTION),
        ({"heard": False}, HealthState.AWAY),
        ({"limited_until_ms": NOW + 5}, HealthState.LIMITED),
        ({"is_suspended": True}, HealthState.SUSPENDED),
        ({"stage": RunStage.PREPARING}, HealthState.WORKING),
        ({"stage": RunStage.VERIFYING}, HealthState.WORKING),
        ({"signs": None}, HealthState.WORKING),
    ],
)
def test_what_explains_silence_goes_before_it(more: dict[str, Any], state: HealthState) -> None:
    """A question, a machine that is away, a rate limit, set-up and gates never become "stuck"."""
    found = health_of(replace(seen(output_ms=90 * MIN), **more), RULES)
    assert found.state is state and found.why


def line(state: HealthState, ago_ms: int) -> Decision:
    return Decision("r-0001", 1, NOW - ago_ms, HEALTH, "", state.value, "")


QUIET = AgentHealth(HealthState.QUIET, "so", NOW - 16 * MIN, Gravity.WARNING)
STUCK = AgentHealth(HealthState.STUCK, "so", NOW - 31 * MIN, Gravity.USER)


@pytest.mark.parametrize(
    ("health", "told", "words"),
    [
        (QUIET, [], True),
        (QUIET, [line(HealthState.QUIET, MIN)], None),
        (QUIET, [line(HealthState.QUIET, 20 * MIN)], False),
        (replace(QUIET, since_ms=NOW - MIN), [line(HealthState.QUIET, 5 * MIN - 1)], None),
        (replace(QUIET, since_ms=NOW - MIN), [line(HealthState.QUIET, 5 * MIN + 1)], False),
        (STUCK, [line(HealthState.QUIET, 16 * MIN)], False),
        (STUCK, [line(HealthState.QUIET, 16 * MIN), line(HealthState.STUCK, 1)], None),
        (STUCK, [], True),
        (replace(QUIET, gravity=Gravity.WELL), [], None),
        (AgentHealth(HealthState.QUESTION, "so", gravity=Gravity.USER), [], None),
        (AgentHealth(HealthState.AWAY, "so", gravity=Gravity.WARNING), [], None),
    ],
)
def test_a_state_is_told_once_in_its_time_and_the_agent_once(
    health: AgentHealth, told: list[Decision], words: bool | None
) -> None:
    assert report_of(health, told, NOW, RULES) is words
    assert not report_of(health, told, NOW, replace(RULES, words=False))
