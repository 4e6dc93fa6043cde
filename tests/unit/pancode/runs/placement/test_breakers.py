"""Circuit breakers as tables: what opens one, what lets a run through, what closes it; the loop breaker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire.failure import FailureKind
from pancode.runs.placement.breakers import (
    LOOP,
    BreakerState,
    EndedTries,
    EndedTry,
    build_breaker,
    judge_loop,
)

K = FailureKind
CLOSED, OPEN, HALF = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def _one(at_s: int, failure: FailureKind | None, **changes: Any) -> EndedTry:
    fields: dict[str, Any] = {
        "at_ms": at_s * 1_000,
        "began_ms": at_s * 1_000 - 500,
        "run": f"r-{at_s:04d}",
        "agent": "builder",
        "task": "do it",
        "node": "n1",
        "provider": "anthropic",
        "failure": failure,
        "own": False,
    }
    return EndedTry(**{**fields, **changes})


def _seen(now_s: int, *tries: EndedTry, **resets: int) -> EndedTries:
    return EndedTries(
        tries, {name.replace("_", ":"): at * 1_000 for name, at in resets.items()}, now_s * 1_000
    )


@pytest.mark.parametrize(
    ("name", "failures", "now_s", "state"),
    [
        ("provider:anthropic", [(1, K.MODEL_BUSY)], 30, OPEN),
        ("provider:anthropic", [(1, K.MODEL_BUSY)], 32, HALF),
        ("provider:anthropic", [(1, K.MODEL_BUSY), (40, None)], 41, CLOSED),
        ("provider:anthropic", [(1, K.MODEL_FAILED), (2, K.MODEL_FAILED)], 3, CLOSED),
        ("provider:anthropic", [(n, K.MODEL_FAILED) for n in (1, 2, 3)], 4, OPEN),
        ("provider:anthropic", [(n, K.MODEL_FAILED) for n in (1, 2, 3, 6)], 9, OPEN),
        ("provider:anthropic", [(n, K.MODEL_FAILED) for n in (1, 2, 3, 6)], 11, HALF),
        ("provider:anthropic", [(1, K.MODEL_FAILED), (2, None), (3, K.MODEL_FAILED)], 4, CLOSED),
        ("node:n1", [(n, K.SANDBOX) for n in (1, 2, 3)], 60, OPEN),
        ("node:n1", [(n, K.SANDBOX) for n in (1, 2, 3)], 64, HALF),
        ("node:n1", [(1, K.SANDBOX), (2, K.SANDBOX), (3, K.AGENT_FAILED), (4, K.SANDBOX)], 5, CLOSED),
        ("node:n1", [(n, K.AGENT_FAILED) for n in (1, 2, 3)], 4, CLOSED),
        ("node:n1", [(1, K.SANDBOX), (700, K.SANDBOX), (1_400, K.SANDBOX)], 1_401, CLOSED),
        ("agent:builder", [(n, K.AGENT_FAILED) for n in (1, 2, 3, 4)], 5, CLOSED),
        ("agent:builder", [(n, K.GATE_FAILED) for n in (1, 2, 3, 4, 5)], 6, OPEN),
        ("agent:builder", [(n, K.WALL_LIMIT) for n in (1, 2, 3, 4, 5)], 6, CLOSED),
        (
            "agent:builder",
            [(n, K.AGENT_FAILED) for n in (1, 2, 3, 4)] + [(5, None), (6, K.NO_ANSWER)],
            7,
            CLOSED,
        ),
        ("agent:builder", [(n, K.MODEL_BUSY) for n in (1, 2, 3, 4, 5)], 6, CLOSED),
    ],
)
def test_what_opens_and_closes_a_breaker(
    name: str, failures: list[tuple[int, FailureKind | None]], now_s: int, state: BreakerState
) -> None:
    made = build_breaker(name, _seen(now_s, *(_one(at, failure) for at, failure in failures)))
    assert made.state is state, made


def test_what_began_before_the_probe_says_nothing_new() -> None:
    late = _one(50, K.SANDBOX, began_ms=1_000)
    three = [_one(n, K.SANDBOX) for n in (1, 2, 3)]
    assert build_breaker("node:n1", _seen(64, *three, late)).until_ms == 63_000


def test_a_failed_probe_doubles_the_pause_and_a_provider_says_its_own() -> None:
    three = [_one(n, K.SANDBOX) for n in (1, 2, 3)]
    assert build_breaker("node:n1", _seen(70, *three, _one(70, K.SANDBOX))).until_ms == 190_000
    assert (
        build_breaker("provider:anthropic", _seen(2, _one(1, K.MODEL_BUSY, retry_ms=90_000))).until_ms
        == 91_000
    )


def test_a_reboot_under_several_runs_is_one_failure_of_the_machine() -> None:
    together = [_one(50 + n, K.PROCESS_VANISHED, began_ms=n * 1_000) for n in range(5)]
    assert build_breaker("node:n1", _seen(60, *together)).failures == 1
    later = [_one(n, K.PROCESS_VANISHED) for n in (70, 80)]
    assert build_breaker("node:n1", _seen(90, *together, *later)).state is OPEN


def test_rounds_of_one_session_that_fail_are_one_failure_of_its_agent() -> None:
    """The session is left alone until its gates pass, and what it does is not all that the agent can do."""
    rounds = [_one(n, K.GATE_FAILED, session="r-0001") for n in range(1, 9)]
    seen = _seen(9, *rounds)
    assert build_breaker("agent:builder", seen).failures == 1
    assert (
        judge_loop(seen, "builder", "do it") is None and judge_loop(seen, "builder", "another task") is None
    )
    others = [_one(n, K.GATE_FAILED, session=f"r-{n:04d}") for n in (10, 11, 12, 13)]
    assert build_breaker("agent:builder", _seen(14, *rounds, *others)).state is OPEN


def test_a_reset_forgets_the_failures() -> None:
    three = [_one(n, K.SANDBOX) for n in (1, 2, 3)]
    assert build_breaker("node:n1", _seen(4, *three, node_n1=3)).state is CLOSED


def test_the_same_task_again_and_again_is_warned_of_and_then_refused() -> None:
    tries = [_one(n, K.AGENT_FAILED) for n in range(1, 6)]
    assert judge_loop(_seen(9, *tries[:2]), "builder", "do it") is None
    warned, refused = (
        judge_loop(_seen(9, *tries[:3]), "builder", "do it"),
        judge_loop(_seen(9, *tries), "builder", "do it"),
    )
    assert warned is not None and not warned.refuses
    assert refused is not None and (refused.refuses, refused.name) == (True, LOOP)
    assert "failed at the same task 5 times" in refused.words
    other = judge_loop(_seen(9, *tries), "builder", "another task")
    assert other is not None and other.name == "agent:builder" and other.refuses
    assert judge_loop(_seen(9, *tries, loop=8, agent_builder=8), "builder", "do it") is None
    assert judge_loop(_seen(700, *tries), "builder", "do it") is None


def test_three_agents_that_fail_within_a_minute_stop_every_dispatch() -> None:
    tries = [_one(n, K.AGENT_FAILED, agent=f"a{n}") for n in (1, 2, 3)]
    said = judge_loop(_seen(30, *tries), "builder", "anything")
    assert said is not None and said.refuses and "3 agents have failed" in said.words
    assert judge_loop(_seen(70, *tries), "builder", "anything") is None
    own = [_one(n, K.AGENT_FAILED, agent=f"a{n}", own=True) for n in (1, 2, 3)]
    assert judge_loop(_seen(30, *own), "builder", "anything") is None


@given(st.lists(st.sampled_from([None, *FailureKind]), max_size=60), st.integers(0, 5_000))
def test_every_breaker_lets_a_run_through_at_last(failures: list[FailureKind | None], later_s: int) -> None:
    """Whatever happened: no breaker is open for longer than its longest pause after its last failure."""
    tries = [_one(n, failure) for n, failure in enumerate(failures, 1)]
    for name in ("provider:anthropic", "node:n1", "agent:builder"):
        made = build_breaker(name, _seen(len(tries) + 601 + later_s, *tries))
        assert made.state is not OPEN


def test_an_end_of_tomorrow_holds_up_nothing_today() -> None:
    """The wall clock was set back by a day after these failures: they count again when it has come there."""
    ends = [_one(86_400 + at, K.PROCESS_VANISHED) for at in range(3)]
    assert build_breaker("node:n1", _seen(10, *ends)).state is CLOSED
    assert build_breaker("node:n1", _seen(86_403, *ends)).state is OPEN
