"""What an attempt leaves for others: a question to a user, and copied files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt.left_for_others import MOST_QUESTION, read_question, take_question
from node_agent.attempt.verdict import Fault
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Gate, Workspace
from node_agent.workspace.folders import AttemptFolders, holds_copied, is_left_out, lay_copied
from tests.fakes.node.host import Script
from tests.unit.node_agent.attempt.test_procedure import NAME, run


def never(name: str) -> bool:
    return False


def places(folder: Path) -> AttemptFolders:
    found = AttemptFolders(folder)
    found.tree.mkdir(parents=True)
    return found


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
        (b" " * (MOST_QUESTION + 1), "KB"),
    ],
)
def test_what_is_no_question_still_needs_a_user_and_says_why(left: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_question(left)
    fault, told = take_question(None, left, plain)
    assert fault is not None and fault.kind is FailureKind.NEEDS_USER and words in fault.reason
    assert told == {}


@pytest.mark.parametrize("kind", [FailureKind.WALL_LIMIT, FailureKind.STOPPED, FailureKind.GATE_MISSING])
def test_a_limit_or_a_stop_stands_whatever_is_asked(kind: FailureKind) -> None:
    fault = Fault(kind, "over")
    assert take_question(fault, ASKS, plain) == (fault, {})


def test_a_secret_in_a_question_is_taken_out() -> None:
    fault, told = take_question(None, ASKS, lambda text: text.replace("8080", "***"))
    assert told["question"]["choices"] == ["***", "9090"] and fault is not None


@pytest.mark.parametrize("kind", ["git", "none"])
def test_the_attempt_ends_blocked_before_its_gates_and_the_receipt_asks(kind: str) -> None:
    gates = (Gate(name="g", argv=("true",)),)
    job: dict[str, Any] = {"workspace": Workspace(kind="none")} if kind == "none" else {}
    claims = run(Script(question=ASKS), gates=gates, **job).claims[NAME]
    assert (claims.outcome, claims.failure) == (Outcome.BLOCKED, FailureKind.NEEDS_USER)
    assert claims.question is not None and claims.question.question == "Which port?"
    assert claims.reason == "it asks: Which port?" and claims.gates == ()
    assert (claims.commit is not None) == (kind == "git"), "what it did so far is kept"


def test_copies_of_ignored_files_are_written_before_the_agent_starts() -> None:
    stage = run(Script(), copied="sealed")
    assert stage.host.copied == {NAME: {".env.local": b"sealed"}}


def test_copies_follow_no_link_and_are_left_out_of_the_result(tmp_path: Path) -> None:
    found = places(tmp_path / "a")
    for _ in range(2):
        lay_copied(found, {".env.local": b"KEY=1\n", "config/site.key": b"\0"})
    assert (found.tree / "config" / "site.key").read_bytes() == b"\0"
    assert is_left_out(found, b".env.local") and is_left_out(found, b"config/site.key")
    assert not is_left_out(found, b"config/other.key")
    told = {name: holds_copied(found, name) for name in (b".env.local", b"config/", b"config", b"build/")}
    assert told == {b".env.local": True, b"config/": True, b"config": False, b"build/": False}
    lay_copied(found, {".env.other": b"KEY=1\n"})
    assert is_left_out(found, b".env.other") and not is_left_out(found, b"config/site.key")
    other = places(tmp_path / "b")
    (other.tree / "config").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        lay_copied(other, {"config/site.key": b"x"})
    assert not (tmp_path / "site.key").exists()
