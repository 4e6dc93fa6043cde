"""An agent's question to a person: its form, its bounds, and how the attempt ends with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node_agent.attempt.questions import MOST_BYTES, asked, read_question
from node_agent.attempt.verdict import Fault
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.order import Gate, Workspace
from tests.fakes.node.host import Script
from tests.unit.node_agent.attempt.test_job import NAME, run

ASKS = json.dumps({"question": "Which port?", "choices": ["8080", "9090"]}).encode()


def plain(text: str) -> str:
    return text


def test_a_question_is_read_with_its_choices_or_without() -> None:
    assert read_question(ASKS).choices == ("8080", "9090")
    assert read_question(b'{"question": "why?"}').choices == ()


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (b"", "JSON"),
        (b"what now", "JSON"),
        (b"[]", "object"),
        (b"\xff\xfe", "JSON"),
        (b"[" * 60_000, "JSON"),
        (b"{}", "question"),
        (b'{"question": ""}', "question"),
        (b'{"question": 7}', "question"),
        (json.dumps({"question": "x" * 2_001}).encode(), "question"),
        (b'{"question": "x", "choice": []}', "choice"),
        (json.dumps({"question": "x", "choices": ["a"] * 11}).encode(), "choices"),
        (b" " * (MOST_BYTES + 1), "KB"),
    ],
)
def test_what_is_no_question_still_needs_a_person_and_says_why(left: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_question(left)
    fault, told = asked(None, left, plain)
    assert fault is not None and fault.kind is FailureKind.NEEDS_PERSON and words in fault.reason
    assert told == {}


@pytest.mark.parametrize("kind", [FailureKind.WALL_LIMIT, FailureKind.STOPPED, FailureKind.GATE_MISSING])
def test_a_limit_or_a_stop_stands_whatever_is_asked(kind: FailureKind) -> None:
    fault = Fault(kind, "over")
    assert asked(fault, ASKS, plain) == (fault, {})


def test_a_secret_in_a_question_is_taken_out() -> None:
    fault, told = asked(None, ASKS, lambda text: text.replace("8080", "***"))
    assert told["question"]["choices"] == ["***", "9090"] and fault is not None


@pytest.mark.parametrize("kind", ["git", "none"])
def test_the_attempt_ends_blocked_before_its_gates_and_the_receipt_asks(kind: str) -> None:
    gates = (Gate(name="g", argv=("true",)),)
    order: dict[str, Any] = {"workspace": Workspace(kind="none")} if kind == "none" else {}
    claims = run(Script(question=ASKS), gates=gates, **order).claims[NAME]
    assert (claims.outcome, claims.failure) == (Outcome.BLOCKED, FailureKind.NEEDS_PERSON)
    assert claims.question is not None and claims.question.question == "Which port?"
    assert claims.reason == "it asks: Which port?" and claims.gates == ()
    assert (claims.commit is not None) == (kind == "git"), "what it did so far is kept"
