"""The table of retries: each cause, its bound, its pause; no sequence of failures continues for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire.failure import FAILURES, FailureKind
from pancode.budget.books import ZERO
from pancode.kernel.records import Attempt, Run
from pancode.kernel.values import replace
from pancode.runs.life.retries import (
    CAUSES,
    LONGEST_WAIT_MS,
    RULES,
    NoRetry,
    Retry,
    RetryCause,
    after_failure,
    most_retries,
    pause_ms,
)
from tests.unit.pancode.runs.world import a_run

K = FailureKind


def _run(**changes: Any) -> Run:
    return a_run("r-0001", 0, ZERO, **changes)


def _tried(*failures: FailureKind) -> list[Attempt]:
    return [
        Attempt("r-0001", n, 0, ZERO, FAILURES[failure].outcome, failure)
        for n, failure in enumerate(failures, 1)
    ]


def _after(run: Run, *failures: FailureKind, elsewhere: bool = True) -> Retry | NoRetry:
    return after_failure(replace(run, attempt=len(failures)), failures[-1], _tried(*failures), elsewhere)


def test_every_cause_has_a_row_and_every_row_a_failure() -> None:
    assert set(RULES) == set(RetryCause) == set(CAUSES.values())


@pytest.mark.parametrize(
    ("run", "failures", "elsewhere", "pauses"),
    [
        ({}, [K.MODEL_BUSY], True, 3),
        ({}, [K.MODEL_BUSY] * 3, True, 12),
        ({}, [K.MODEL_BUSY] * 5, True, None),
        ({}, [K.MODEL_FAILED], True, 1),
        ({}, [K.MODEL_FAILED] * 2, True, None),
        ({}, [K.SANDBOX], True, 0),
        ({}, [K.SANDBOX], False, 1),
        ({}, [K.SANDBOX, K.DISK_FULL], True, None),
        ({}, [K.SANDBOX, K.MODEL_FAILED], True, 1),
        ({}, [K.GATE_MISSING], True, 0),
        ({}, [K.GATE_MISSING], False, None),
        ({"terms": {"verify_retries": 1}}, [K.GATE_FAILED], True, 0),
        ({"terms": {"verify_retries": 1}}, [K.GATE_FAILED] * 2, True, None),
        ({"terms": {"verify_retries": 0}, "max_attempts": 3}, [K.GATE_FAILED], True, None),
        ({}, [K.GATE_FAILED], True, None),
        ({}, [K.AGENT_FAILED], True, None),
        ({"max_attempts": 2}, [K.AGENT_FAILED], True, 0),
        ({"max_attempts": 2}, [K.SANDBOX, K.AGENT_FAILED], True, None),
        ({"max_attempts": 1}, [K.MODEL_BUSY], True, None),
        ({}, [K.DRAINED], True, None),
        ({}, [K.NODE_LOST], True, None),
        ({"on_lost": "retry"}, [K.NODE_LOST], True, 1),
        ({"read_only": True}, [K.NODE_LOST], True, 1),
        ({"stop_asked": "enough", "max_attempts": 9}, [K.MODEL_BUSY], True, None),
        ({"max_attempts": 9}, [K.STOPPED], True, None),
        ({"max_attempts": 9}, [K.GATE_NOT_JUDGED], True, None),
        ({"max_attempts": 9}, [K.RULE_BROKEN], True, None),
    ],
)
def test_what_follows_a_failure(
    run: dict[str, Any], failures: Sequence[FailureKind], elsewhere: bool, pauses: int | None
) -> None:
    made = _after(_run(**run), *failures, elsewhere=elsewhere)
    assert (made.pauses if isinstance(made, Retry) else None) == pauses


def test_the_words_name_cause_step_and_bound() -> None:
    made = _after(_run(), K.MODEL_BUSY, K.MODEL_BUSY)
    assert isinstance(made, Retry)
    assert made.words == (
        "rate limit: the same again, once the provider accepts calls again (retry 2 of 4 for this cause)"
    )
    assert _after(_run(), K.SANDBOX, K.SANDBOX) == NoRetry(
        "infrastructure: already retried 1 time, the most allowed"
    )
    lost = _after(_run(), K.NODE_LOST)
    assert isinstance(lost, NoRetry) and "--on-lost retry" in lost.why


def test_a_provider_says_how_long_to_wait() -> None:
    busy, vanished = _after(_run(), K.MODEL_BUSY), _after(_run(), K.PROCESS_VANISHED, elsewhere=False)
    assert isinstance(busy, Retry) and isinstance(vanished, Retry)
    assert pause_ms(busy, 10_000) == 30_000
    assert pause_ms(busy, 10_000, asked_ms=7_000) == 7_000
    assert pause_ms(busy, 10_000, asked_ms=10**12) == LONGEST_WAIT_MS
    assert pause_ms(vanished, 10_000, asked_ms=7_000) == 10_000


@given(
    st.lists(st.sampled_from(sorted(FailureKind)), min_size=200, max_size=200),
    st.none() | st.integers(1, 10),
    st.none() | st.integers(0, 9),
    st.sampled_from(["ask", "retry"]),
    st.booleans(),
)
def test_no_sequence_of_failures_is_tried_for_ever(
    failures: list[FailureKind], most: int | None, verify: int | None, on_lost: str, elsewhere: bool
) -> None:
    terms = {} if verify is None else {"verify_retries": verify}
    run = _run(max_attempts=most, on_lost=on_lost, terms=terms)
    number = 1
    while isinstance(_after(run, *failures[:number], elsewhere=elsewhere), Retry):
        number += 1
    assert number <= (most or 1 + sum(most_retries(run, cause) for cause in RetryCause))
    if run.on_lost == "ask":
        assert K.NODE_LOST not in failures[: number - 1]
