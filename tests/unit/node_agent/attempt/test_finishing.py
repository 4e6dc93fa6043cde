"""The number of a score command: the last line of its output is a JSON number, or there is none."""

from __future__ import annotations

import pytest

from node_agent.attempt.finishing import NoScoreError, find_error_line, score_of
from node_agent.shim.spool import ExitRecord, PhaseEnd, StepEndedBy, StepKind, StepRecord
from node_agent.wire.failure import Outcome
from node_agent.wire.job import Gate
from tests.fakes.node import Script
from tests.unit.node_agent.attempt.test_procedure import NAME, run


def record(code: int = 0, index: int = 1) -> ExitRecord:
    step = StepRecord(
        index, "score", StepKind.GATE, 1, 1, code, None, None, StepEndedBy.NONE, 0, 0, 1, 1, 0, 0, 0, 0, 0
    )
    return ExitRecord("x", "gates", "b", PhaseEnd.DONE, "", True, 0, 0, 0, 0, 1, 1, (step,))


@pytest.mark.parametrize(
    ("output", "score"),
    [
        ("3", "3"),
        ("words\n\n  -12.50 \n", "-12.50"),
        ("1e3", "1000"),
        ("2.5e-3", "0.0025"),
        ("0", "0"),
        ("9" * 18, "9" * 18),
    ],
)
def test_the_last_line_is_the_number(output: str, score: str) -> None:
    assert score_of(record(), 1, output.encode()) == score


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("", "printed nothing"),
        ("the score is 3", "not a JSON number"),
        ("3\nall done", "not a JSON number"),
        ("true", "not a JSON number"),
        ("NaN", "not a JSON number"),
        ("Infinity", "not a JSON number"),
        ('"3"', "not a JSON number"),
        ("[3]", "not a JSON number"),
        ("1e300", "digits"),
        ("1e-300", "digits"),
        ("1e99999999999", "digits"),
        ("9" * 19, "digits"),
        ("[" * 100_000, "not a JSON number"),
    ],
)
def test_nothing_else_is_a_score(output: str, why: str) -> None:
    with pytest.raises(NoScoreError, match=why):
        score_of(record(), 1, output.encode())


def test_a_command_that_fails_gives_none() -> None:
    with pytest.raises(NoScoreError, match="exit 2"):
        score_of(record(2), 1, b"3")
    with pytest.raises(NoScoreError, match="not run"):
        score_of(record(index=0), 1, b"3")


@pytest.mark.parametrize("gates", [(), (Gate(name="g", argv=("true",)),)])
def test_it_is_run_after_the_gates_and_stands_in_the_receipt(gates: tuple[Gate, ...]) -> None:
    claims = run(Script(score=b"looks good\n7.5\n"), gates=gates, score=("./bench.sh",)).claims[NAME]
    assert (claims.outcome, claims.score) == (Outcome.DONE, "7.5")
    assert len(claims.gates) == len(gates) and "score" in {one.name for one in claims.blobs}
    none = run(Script(score=b"seven\n"), gates=gates, score=("./bench.sh",)).claims[NAME]
    assert (none.outcome, none.score) == (Outcome.DONE, None)
    assert any("no score: the last line" in one for one in none.findings)


PYTEST = """\
collected 3 items, 0 errors
Traceback (most recent call last):
  File "test_a.py", line 4, in test_x
AssertionError: Lists differ: ['utf-8'] != ['x']
FAILED (failures=1)
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (PYTEST, "AssertionError: Lists differ: ['utf-8'] != ['x']"),
        ("note: built\nerror[E0308]: mismatched types\nerror: aborting", "error[E0308]: mismatched types"),
        ("0 errors, no failures\n2 tests failed\nsee log", "2 tests failed"),
        ("one\n\nlast\n", "last"),
        ("\n", ""),
    ],
    ids=["python", "rust", "counted", "last", "empty"],
)
def test_a_failed_gate_is_explained_by_its_first_error_line(output: str, line: str) -> None:
    assert find_error_line(output) == line
